"""Read ``.cfg`` text into a list of Blocks, and write it.

The grammar is Darknet's (parser.c:1800, option_list.c:57): blanks anywhere, comments on their own
lines, ``[section]``, ``key=value``. What Darknet accepts silently (a duplicate key, text after
a number) is a ``CfgWarning`` here; what it skips silently is a ``CfgError`` with file and line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.cfg.block import NET_SECTIONS, TEXT_SOURCE, Block
from darknet_builder.cfg.diagnostics import Collector, Diagnostics
from darknet_builder.errors import CfgError, CfgWarning, shorten
from darknet_builder.support.bundled import find_by_name, hint_at_bundled
from darknet_builder.support.file_kinds import recognize
from darknet_builder.support.files import read_bounded

_BLANKS = re.compile(r"\s+")
_JOINED = re.compile(r"(?<![\d.])[\d.]+(\s+[-+]?[\d.]+)+")
"""Numbers with only blanks between them. A match begins at the first digit of a number: otherwise a
line of a million digits would be searched again from each digit."""
_NOTE = re.compile(r"# dialect: (\w+)\n")


@dataclass(frozen=True)
class CfgText:
    """The text of a cfg before it is parsed.

    Attributes:
        source: the path that it was read from, or ``<text>``.
        text: the text, decoded but not yet parsed.
    """

    source: str
    text: str

    @classmethod
    def read(cls, path_or_text: str | Path) -> CfgText:
        """Read the text of a cfg.

        Args:
            path_or_text: a path; or a text, recognised by its line breaks or its first ``[``.

        Raises:
            CfgError: if the file cannot be read or is not a cfg.
        """
        if is_cfg_text(path_or_text):
            source, data, text = TEXT_SOURCE, b"", str(path_or_text)
        else:
            source, data = _read(path_or_text)
            text = _decode(data)
        # A str may hold lone surrogates, which strict encoding refuses.
        kind = recognize(data or text.encode(errors="replace"))
        if kind is not None:
            raise CfgError(f"is {kind.name}, not a cfg", path=source, hint=kind.cure)
        return cls(source, text)

    @property
    def dialect(self) -> str | None:
        """The dialect noted in the first line, or None; ``export`` writes it as a comment."""
        match = _NOTE.match(self.text)
        return match[1] if match else None

    def parse(self, diagnostics: Diagnostics | None = None) -> list[Block]:
        """Parse into Blocks: the first is ``[net]``, the others are the layers in order.

        Args:
            diagnostics: receives mistakes; the first one is raised by default. If mistakes are
                collected, wrong lines are left out, and [net] may be missing.

        Raises:
            CfgError: with file and line, for a line that is not in Darknet's grammar.
        """
        diagnostics = diagnostics or Diagnostics()
        blocks: list[Block] = []
        # Not splitlines, which also splits at form feeds and Unicode separators: the numbers would
        # differ from those of an editor.
        is_misplaced = False
        for number, raw in enumerate(self.text.split("\n"), start=1):
            # Darknet removes all blanks first (utils.c:424), so "filters = 16" and indented
            # comments are valid.
            line = _BLANKS.sub("", raw)
            if not line or line[0] in "#;":
                continue
            if not blocks and line[0] != "[":
                # Once: a file of another kind has no section at all.
                if not is_misplaced:
                    diagnostics.report(_before_sections(line, self.source, number))
                is_misplaced = True
                continue
            try:
                _take_line(blocks, line, self.source, number)
                _warn_of_joined(blocks[-1], raw, self.source, number)
            except CfgError as error:
                diagnostics.report(error)
        if not blocks and not is_misplaced:
            diagnostics.report(CfgError("is empty: a cfg begins with [net]", path=self.source))
        elif blocks and blocks[0].name not in NET_SECTIONS:
            diagnostics.report(blocks[0].error("the first section must be [net]"))
        return blocks


def parse_cfg(
    path_or_text: str | Path,
    *,
    diagnostics: Diagnostics | None = None,
    problems: list[CfgError] | None = None,
) -> list[Block]:
    r"""Read a ``.cfg``: the first Block is ``[net]``, the others are the layers in order.

    Args:
        path_or_text: a path, the name of a bundled cfg (``yolov4-tiny``), or the text itself (a
            ``str`` that contains a line break or begins with ``[``).
        diagnostics: receives mistakes; the first one is raised by default. If mistakes are
            collected, wrong lines are left out, and [net] may be missing.
        problems: deprecated; a list to which mistakes are appended. Use ``Collector``.

    Raises:
        CfgError: with file and line, for a line that is not in Darknet's grammar.

    Example:
        >>> parse_cfg("[net]\nwidth=416\n[convolutional]\nfilters = 16\n")[1]
        Block('convolutional', {'filters': '16'}, line=3)
    """
    if problems is None:
        return CfgText.read(path_or_text).parse(diagnostics)
    warnings.warn(
        "problems= is deprecated; give diagnostics=Collector()", DeprecationWarning, stacklevel=2
    )
    collector = Collector()
    blocks = CfgText.read(path_or_text).parse(collector)
    problems += [error for error in collector.errors if isinstance(error, CfgError)]
    return blocks


def noted_dialect(path_or_text: str | Path) -> str | None:
    """Return ``CfgText.read(path_or_text).dialect``."""
    return CfgText.read(path_or_text).dialect


def note_dialect(name: str) -> str:
    """Return the comment line that ``noted_dialect`` reads."""
    return f"# dialect: {name}\n"


def format_cfg(blocks: Sequence[Block]) -> str:
    """Return text that ``parse_cfg`` reads back to equal blocks.

    Example:
        >>> print(format_cfg([Block("net", {"width": "416"}), Block("avgpool")]), end="")
        [net]
        width=416
        <BLANKLINE>
        [avgpool]
    """
    return "\n\n".join(map(_format_section, blocks)) + "\n"


def _format_section(block: Block) -> str:
    return "\n".join([f"[{block.name}]", *(f"{key}={value}" for key, value in block.items())])


def is_cfg_text(path_or_text: str | Path) -> bool:
    """Return whether a ``str`` is cfg text rather than a path.

    It is if it is blank, contains a line break or begins with ``[``.
    """
    if not isinstance(path_or_text, str):
        return False
    return (
        "\n" in path_or_text or path_or_text.strip() == "" or path_or_text.lstrip().startswith("[")
    )


def _read(path_or_text: str | Path) -> tuple[str, bytes]:
    path = find_by_name(path_or_text, ".cfg")
    source = str(path)
    try:
        return source, read_bounded(path)
    except FileNotFoundError:
        raise CfgError(
            "no such cfg file", path=source, hint=hint_at_bundled(path, ".cfg")
        ) from None
    except OSError as error:
        raise CfgError(f"cannot be read: {error.strerror}", path=source) from None


def _decode(data: bytes) -> str:
    try:
        # Without the byte order mark, which Windows editors write before the first section.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # comments in old cfgs; Darknet reads bytes


def _take_line(blocks: list[Block], line: str, source: str, number: int) -> None:
    if line[0] == "[":
        blocks.append(_open_section(line, source, number))
    else:
        _add_option(blocks, line, source, number)


def _before_sections(line: str, source: str, number: int) -> CfgError:
    return CfgError(
        f"{shorten(line)!r} is before the first section",
        path=source,
        line=number,
        hint="begin the file with [net]",
    )


def _open_section(line: str, source: str, number: int) -> Block:
    name = line[1:-1]
    if line[-1] != "]" or not name:
        raise CfgError(
            f"cannot parse {shorten(line)!r}",
            path=source,
            line=number,
            hint="expected [name] alone on its line",
        )
    return Block(name, line=number, source=source)


def _add_option(blocks: list[Block], line: str, source: str, number: int) -> None:
    # Darknet splits at the first = too (option_list.c:63), so a value may contain more of them.
    key, equals, value = line.partition("=")
    block = blocks[-1]
    if not (key and equals and value):
        raise CfgError(
            f"cannot parse {shorten(line)!r}",
            path=source,
            line=number,
            section=block.name,
            hint="expected key=value",
        )
    # Darknet's option_find returns the first match of its list, so a repeated key has no effect.
    if key in block._options:
        message = (
            f"is ignored, because line {block._lines[key]} already sets {key}={block._options[key]}"
        )
        warnings.warn(
            CfgWarning(message, path=source, line=number, section=block.name, key=key, value=value),
            stacklevel=3,
        )
        return
    block._options[key] = value
    block._lines[key] = number


def _warn_of_joined(block: Block, raw: str, source: str, number: int) -> None:
    """Warn of numbers that become one because Darknet removes blanks from a line (utils.c:424)."""
    key, _, value = raw.partition("=")
    joined = _JOINED.search(value.partition("#")[0])
    if joined:
        message = (
            f"Darknet drops blanks, so {shorten(joined.group())!r} is read as"
            f" {shorten(_BLANKS.sub('', joined.group()))}"
        )
        warnings.warn(
            CfgWarning(
                message,
                path=source,
                line=number,
                section=block.name,
                key=_BLANKS.sub("", key),
                hint="is a comma missing?",
            ),
            stacklevel=3,
        )
