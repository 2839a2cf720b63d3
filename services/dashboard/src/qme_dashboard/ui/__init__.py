"""The pages, drawn with Streamlit, which nothing else imports. They show what `hub` has, and do what `deeds` can.

Text from tasks is shown by what takes no Markdown (code, tables, escaped HTML), or through `words.plain`.
"""
