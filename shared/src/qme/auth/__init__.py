"""Who may use a site's bus: identities kept in a folder, and the NATS configuration that is made from them.

`book` keeps the identities, `accounts` lays out what the server is told of them, `keys` makes key pairs. Nothing here
connects to a bus; clients need none of it.
"""
