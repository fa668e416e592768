"""Configuration files: YAML and ``a.b=c`` overrides in, a typed model or one clear line out.

pydantic knows every rule; this file reads the YAML strictly and turns what pydantic found into
one line with the file, the dotted key, the rule, the value met and the nearest known name.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from envs.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)
Key = tuple[str | int, ...]


def load_config(model: type[Model], path: Path, overrides: Sequence[str] = ()) -> Model:
    """Read ``path`` as YAML, apply ``a.b=c`` overrides and validate the whole as ``model``.

    An override's value is read as YAML (``ppo.lr=1e-4``, ``sft.peft=null``, ``a.b=[1, 2]``) and
    wins over the file.

    Raises:
        UserError: one line, for a missing or malformed file, a duplicate or unknown key, a wrong
            value, or an override that is not of the form ``a.b=c``.
    """
    data = _read_mapping(path)
    overridden = [_apply_override(data, override) for override in overrides]
    return validate_config(model, data, str(path), overridden)


def validate_config(
    model: type[Model], data: Mapping[str, Any], source: str, overridden: Sequence[Key] = ()
) -> Model:
    """Validate plain ``data`` as ``model``; ``source`` names it in the one line of a UserError.

    ``overridden`` are the keys made by ``--set``, so that the line blames the right place.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(_one_line(model, error, source, overridden)) from None
    except UserError as error:  # raised by a section's own validator, which knows no file name
        raise UserError(f"{source}: {error}") from None


def with_overrides(config: Model, overrides: Sequence[str], source: str) -> Model:
    """Return a configuration under further ``a.b=c`` overrides; ``source`` names it in errors."""
    data = config_as_dict(config)
    overridden = [_apply_override(data, override) for override in overrides]
    return validate_config(type(config), data, source, overridden)


def config_as_dict(config: BaseModel) -> dict[str, Any]:
    """Return the configuration as plain values, fit for YAML, JSON and `validate_config`."""
    return {key: _finite(value) for key, value in config.model_dump(mode="json").items()}


def _finite(value: Any) -> Any:
    # JSON has no infinity; as the string "inf" it comes back through pydantic as it was.
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# --- reading ---------------------------------------------------------------------------------


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, except that a key given twice is an error instead of a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_mapping(path: Path) -> dict[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.{_nearest_file(path)}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        met = "nothing" if data is None else _shown(data)
        raise UserError(f"{path}: must hold sections of `key: value` lines, holds {met}.")
    return data


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r} either."
    return nearest(path.name, (entry.name for entry in folder.iterdir() if entry.is_file()))


def _parse_yaml(text: str, source: str) -> Any:
    try:
        # A subclass of the safe loader: it constructs plain values only.
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{source}: {place}{error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not YAML: {' '.join(str(error).split())}.") from None


def _apply_override(data: dict[Any, Any], override: str) -> Key:
    """Set one ``a.b=c`` in ``data``, in place; return the key of what is there because of it."""
    dotted, equals, text = override.partition("=")
    key = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(key):
        raise UserError(f"--set {override}: must have the form section.key=value.")
    level, made = data, key
    for depth, part in enumerate(key[:-1], start=1):
        if part not in level and made == key:
            made = key[:depth]
        inner = level.setdefault(part, {})
        if not isinstance(inner, dict):
            section = ".".join(key[:depth])
            raise UserError(f"--set {override}: {section} is {_shown(inner)}, not a section.")
        level = inner
    level[key[-1]] = _parse_yaml(text, f"--set {override}")
    return made


# --- explaining ------------------------------------------------------------------------------


def _one_line(
    model: type[BaseModel], error: ValidationError, source: str, overridden: Sequence[Key]
) -> str:
    problems: dict[Key, list[tuple[ErrorDetails, Any]]] = {}
    # A misspelt key is the cause of the missing one, so unknown keys come first.
    details = error.errors(include_url=False)
    for detail in sorted(details, key=lambda detail: detail["type"] != "extra_forbidden"):
        key, level = _locate(model, detail["loc"])
        problems.setdefault(key, []).append((detail, level))
    key, met = next(iter(problems.items()))
    # Several problems of one key are the alternatives of a union.
    rules = list(dict.fromkeys(_rule(detail, level) for detail, level in met))
    where = source
    if any(key[: len(given)] == given for given in overridden):
        where = "--set"
    line = f"{where}: {'.'.join(map(str, key)) or 'the file'}: {', or '.join(rules)}"
    line += _value_met(met[0][0])
    if met[0][0]["type"] == "extra_forbidden":
        line += _known_names(str(key[-1]), met[0][1])
    more = len(problems) - 1
    return line + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")


def _rule(detail: ErrorDetails, level: Any) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "missing, and it has no default"
        case "union_tag_invalid":
            tag, names = str(context["discriminator"]).strip("'"), context["expected_tags"]
            hint = nearest(str(context["tag"]), _tags(level, tag))
            return f"{tag} must be one of {names}, not {context['tag']!r}.{hint}"
        case "union_tag_not_found":
            tag = str(context["discriminator"]).strip("'")
            return f"{tag} is missing: it must be one of {', '.join(map(repr, _tags(level, tag)))}"
        case "model_type" | "model_attributes_type":
            return "must be a section of `key: value` lines"
        case "value_error" | "assertion_error":
            return str(context["error"])
    return detail["msg"].replace("Input should be", "must be").replace("Keys should", "keys must")


def _value_met(detail: ErrorDetails) -> str:
    # Where the rule names the value itself, or the value is a whole section, it is not repeated.
    named = {"missing", "union_tag_invalid", "union_tag_not_found", "extra_forbidden"}
    if detail["type"] in named:
        return "" if detail["type"] == "union_tag_invalid" else "."
    if isinstance(detail["input"], (Mapping, BaseModel)):
        return "" if str(detail["msg"]).endswith(".") else "."
    return f"; the value met is {_shown(detail['input'])}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_names(unknown: str, level: Any) -> str:
    if not _is_model(level):
        return ""
    names = list(level.model_fields)
    return nearest(unknown, names) or f" Known here: {', '.join(names)}."


# --- finding ---------------------------------------------------------------------------------


def _locate(annotation: Any, loc: Key) -> tuple[Key, Any]:
    """Follow pydantic's location through the types; return the key as the user wrote it.

    A location also names the member of a union it went through, which is no key of the file; only
    the types tell the two apart. The second value is the model that holds the last part (for an
    unknown key: whose names are the known ones), or the annotation that the location ends at.
    """
    key: Key = ()
    level: Any = annotation
    current = _bare(annotation)
    for part in loc:
        if _is_union(current):
            current = _bare(_member(current, part))
            level = current
            continue
        key += (part,)
        level, current = current, _bare(_inside(current, part))
    if _is_union(current):
        level = current
    return key, level


def _bare(annotation: Any) -> Any:
    """Strip ``Annotated`` and ``| None``, which leave no trace in pydantic's locations."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if _is_union(annotation):
        members = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        return _bare(members[0]) if len(members) == 1 else Union[tuple(members)]  # noqa: UP007
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _inside(annotation: Any, part: str | int) -> Any:
    """Return the type of the field or element ``part`` of ``annotation``."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field else Any
    # Containers: the element type is the last argument (dict[K, V], list[T]), or tuple[T, ...]'s.
    arguments = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    if get_origin(annotation) is tuple and isinstance(part, int) and part < len(arguments):
        return arguments[part]
    return arguments[-1] if arguments else Any


def _member(union: Any, label: str | int) -> Any:
    """Return the member of a union that pydantic calls ``label``: a tag, or the class's name."""
    for member in map(_bare, get_args(union)):
        if _is_model(member) and (member.__name__ == label or label in _literals(member)):
            return member
    return Any


def _literals(model: type[BaseModel], name: str | None = None) -> Iterator[Any]:
    for field_name, field in model.model_fields.items():
        if name in (None, field_name) and get_origin(field.annotation) is Literal:
            yield from get_args(field.annotation)


def _tags(union: Any, discriminator: str) -> list[str]:
    members = [_bare(member) for member in get_args(union)]
    return [tag for m in members if _is_model(m) for tag in _literals(m, discriminator)]
