"""What is asked over the OpenAI-compatible API, as types. A parameter that is not here is refused by name."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator, model_validator

from oracle.engines.answer_types import MOST_ROWS
from oracle.engines.base import MOST_WEIGHED

MOST_LETTERS = 256
"""Of a word that may be answered."""
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Seed = Annotated[StrictInt, Field(ge=0, lt=1 << 63)]
Likeliest = Annotated[StrictInt, Field(ge=0, le=MOST_WEIGHED)]
Count = Annotated[StrictInt, Field(ge=1, le=1 << 20)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200, description="A name or id that /v1/models lists.")
    temperature: Temperature = Field(0, description="0 is greedy, and what this node does if nothing is said.")
    seed: Seed | None = Field(None, description="Of what is sampled; drawn, and told, if nothing is said.")
    stream: bool = False
    n: Literal[1] = 1
    top_p: Literal[1] = 1
    frequency_penalty: Literal[0] = 0
    presence_penalty: Literal[0] = 0
    user: str | None = Field(None, max_length=200, description="Not looked at.")


class CompletionAsked(_Asked):
    """POST /v1/completions"""

    prompt: str = Field(max_length=1 << 20)
    max_tokens: Count = 16
    logprobs: Likeliest | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


Parts = Annotated[list[TextPart], Field(max_length=64, fail_fast=True)]


class Message(BaseModel):
    """One turn. Several parts of text are put together."""

    model_config = ConfigDict(extra="ignore")  # clients hand back what replies had
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Parts

    @property
    def words(self) -> bytes:
        parts = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return parts.encode("utf-8", "surrogatepass")


class ResponseFormat(BaseModel):
    """Any text; or one of a few words, for a JSON schema with an `enum` of strings and nothing else; or what another
    schema allows, in JSON."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text", "json_schema"]
    json_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema: a JSON schema is needed")
        return self

    @field_validator("json_schema")
    @classmethod
    def _is_small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and not isinstance(value.get("schema"), dict):
            raise ValueError("schema: a JSON schema is needed")
        words = _words(value)
        if words is not None and (len(words) > MOST_ROWS or any(len(word) > MOST_LETTERS for word in words)):
            raise ValueError(f"a choice has {MOST_ROWS} words at most, each of {MOST_LETTERS} letters at most")
        return value

    @property
    def words(self) -> list[str] | None:
        """What may be answered; None for anything else than a choice."""
        return None if self.type == "text" else _words(self.json_schema)

    @property
    def form(self) -> dict[str, Any] | None:
        """The schema of an answer that is neither a choice nor any text."""
        if self.type == "text" or self.json_schema is None or self.words is not None:
            return None
        found: dict[str, Any] = self.json_schema["schema"]
        return found


def _words(value: dict[str, Any] | None) -> list[str] | None:
    """Of a schema that is a choice."""
    schema = {} if value is None else value["schema"]
    words = schema.get("enum")
    if {"type": "string"} | schema != {"type": "string", "enum": words} or not isinstance(words, list):
        return None
    return words if all(isinstance(word, str) for word in words) else None


class ChatAsked(_Asked):
    """POST /v1/chat/completions"""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1000, fail_fast=True)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool = False
    top_logprobs: Likeliest | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        return self
