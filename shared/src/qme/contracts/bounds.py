"""Times and counts as stored documents may hold them. No documents here.

Whoever may write one document may say anything in it, and every reader of the bucket meets it: a time without a zone
can't be compared with others, and a number without a bound fits into no database. With these types such a document
can't be read, which every reader is prepared for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

#: a time with its zone, far enough from the first and last year that it can be moved to any other zone
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))
]
#: how many, or the how-manieth
Count = Annotated[int, Field(ge=0, lt=1 << 31)]
#: how many bytes
Size = Annotated[int, Field(ge=0, lt=1 << 63)]
