"""What a browser may send: numbers that the database holds, and texts that can be stored."""

from typing import Annotated

from pydantic import AfterValidator, Field

LARGEST = 2**63 - 1  # of a whole number in the database

Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Id = Annotated[int, Field(ge=1, le=LARGEST)]


def _storable(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("half of a character is no text")
    return text


Words = Annotated[str, AfterValidator(_storable)]
