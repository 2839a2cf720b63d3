"""Creates streams and consumers and keeps their settings up to date: repeatable, also by several at once."""

from __future__ import annotations

from typing import Any

from qme.bus.jetstream_calls import (
    CONSUMER_NOT_FOUND,
    STREAM_EXISTS,
    STREAM_NOT_FOUND,
    Api,
    ApiError,
)
from qme.bus.topology import DUPLICATE_WINDOW, ConsumerSpec, StreamSpec
from qme.errors import LimitReached, QmeError, SettingsError


class Admin:
    """Sets up what the topology describes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def ensure(self, spec: StreamSpec) -> None:
        """Create a stream or bring its settings up to date. Raises SettingsError where that can't be done."""
        wanted = _stream(spec)
        while True:
            try:
                found = (await self._api.call(f"STREAM.INFO.{spec.name}"))["config"]
                break
            except ApiError as error:
                if error.number != STREAM_NOT_FOUND:
                    raise error.as_qme() from error
            try:
                await self._api.call(f"STREAM.CREATE.{spec.name}", wanted)
                return
            except ApiError as error:
                if error.number != STREAM_EXISTS:  # else somebody else was faster, with other settings
                    raise _no_room(spec, error) or _refused(f"stream {spec.name}", error) from error
        changed = {key: value for key, value in wanted.items() if found.get(key) != value}
        if changed:
            try:
                await self._api.call(f"STREAM.UPDATE.{spec.name}", {**found, **changed})
            except ApiError as error:
                refusal = _no_room(spec, error) or error.as_qme()
                if refusal is not error:
                    raise refusal from error
                raise SettingsError(
                    f"stream {spec.name} exists with other settings, and {error.message}: "
                    "remove that stream, or give qme a NATS account of its own"
                ) from error

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        """Create a consumer or bring it up to date."""
        config = {
            "name": spec.name,
            "durable_name": spec.name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": _nanoseconds(spec.ack_wait),
            "max_deliver": -1,
            "max_ack_pending": spec.max_ack_pending,
            "filter_subject": spec.filter,
            "replay_policy": "instant",
        }
        verb = f"CONSUMER.CREATE.{spec.stream}.{spec.name}.{spec.filter}"
        try:
            await self._api.call(verb, {"stream_name": spec.stream, "config": config, "action": ""})
        except ApiError as error:
            raise _refused(f"consumer {spec.name}", error) from error

    async def remove_consumer(self, stream: str, name: str) -> None:
        """Remove a consumer; one that does not exist is fine."""
        try:
            await self._api.call(f"CONSUMER.DELETE.{stream}.{name}")
        except ApiError as error:
            if error.number not in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
                raise error.as_qme() from error


def _stream(spec: StreamSpec) -> dict[str, Any]:
    age = spec.max_age or 0
    config: dict[str, Any] = {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "workqueue" if spec.retention == "work" else "limits",
        "discard": spec.discard,
        "storage": "file",
        "num_replicas": spec.replicas,
        "max_age": _nanoseconds(age),
        "max_bytes": spec.max_bytes or -1,
        "max_msgs_per_subject": spec.max_per_subject or -1,
        "duplicate_window": _nanoseconds(min(age, DUPLICATE_WINDOW) or DUPLICATE_WINDOW),
        "allow_direct": True,
        # With roll-ups, whoever may write one key may wipe all the others'.
        "allow_rollup_hdrs": False,
        "republish": None,
    }
    if spec.message_ttl:
        config["allow_msg_ttl"] = True
    if spec.republish:
        source, destination = spec.republish
        config["republish"] = {"src": source, "dest": destination, "headers_only": True}
    return config


def _no_room(spec: StreamSpec, error: ApiError) -> LimitReached | None:
    """Say which stream is to have more than the server, or the account, has left to promise."""
    if not isinstance(error.as_qme(), LimitReached) or spec.max_bytes is None:
        return None
    return LimitReached(
        f"there is no room for stream {spec.name} of up to {spec.max_bytes >> 20} MiB: {error.message}; "
        "raise max_file_store of the server (or the account's limit), or lower the *_max_bytes in qme's settings"
    )


def _refused(what: str, error: ApiError) -> QmeError:
    refusal = error.as_qme()
    return SettingsError(f"{what} can't be set up: {error.message}") if refusal is error else refusal


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
