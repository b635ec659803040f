"""The common mistakes of chapter 1."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_APPEND = "            blocks[-1][key] = value\n    return blocks"

MISTAKES = (
    Mistake(
        "last-section-lost", 1,
        "The last section is missing. Code that stores a section when the next one begins must"
        " store the last one after the loop.",
        (one(_APPEND, _APPEND + "[:-1]"),),
    ),
    Mistake(
        "net-dropped", 1,
        "The [net] section is missing. Keep it as the first block: chapters 2 and 5 need its width,"
        " height and channels.",
        (one(_APPEND, _APPEND + "[1:]"),),
    ),
    Mistake(
        "sections-merged", 1,
        "Sections of the same type overwrite each other. A network has many [convolutional]"
        " sections: use a list of dicts, not a dict by type.",
        (one(_APPEND, _APPEND.replace("blocks", "list({b['type']: b for b in blocks}.values())")
             .replace("            list({b['type']: b for b in blocks}.values())[-1]",
                      "            blocks[-1]")),),
    ),
    Mistake(
        "semicolon-comments-kept", 1,
        "Lines that begin with ; are comments too, as those with #.",
        (
            one('line[0] in "#;"', 'line[0] == "#"'),
            (
                ('line[0] in "#;"', 'line[0] == "#"'),
                ("            blocks[-1][key] = value\n",
                 "            if blocks and value:\n                blocks[-1][key] = value\n"),
            ),
        ),
    ),
    Mistake(
        "spaces-around-kept", 1,
        "Spaces around the name and the value of an option belong to neither. Remove them: Darknet"
        " removes every space of a line.",
        (one('line = "".join(line.split())', "line = line.strip()"),),
    ),
    Mistake(
        "inner-spaces-kept", 1,
        "Darknet removes every space of a line, also those inside a value: 'steps = 10, 20' has the"
        " value '10,20'.",
        (
            (
                ('line = "".join(line.split())', "line = line.strip()"),
                ("blocks[-1][key] = value\n", "blocks[-1][key.strip()] = value.strip()\n"),
            ),
            (
                ('line = "".join(line.split())', "line = line.strip()"),
                ("blocks[-1][key] = value\n", "blocks[-1][key.rstrip()] = value.lstrip()\n"),
            ),
        ),
    ),
    Mistake(
        "indented-comments-kept", 1,
        "A comment may begin with spaces. Remove the spaces of a line before you look at its first"
        " character.",
        (
            one('    for line in text.splitlines():\n',
                '    for line in text.splitlines():\n        is_comment = line[:1] in "#;"\n')
            + one('        if not line or line[0] in "#;":\n',
                  "        if not line or is_comment:\n"),
        ),
    ),
    Mistake(
        "split-at-every-equals", 1,
        "A value may contain another =. Split only at the first one: line.partition('=') or"
        " line.split('=', 1).",
        (
            one('key, _, value = line.partition("=")', 'key, value = line.split("=")'),
            one('key, _, value = line.partition("=")', 'key, value = line.split("=")[:2]'),
            one('key, _, value = line.partition("=")', 'key, _, value = line.rpartition("=")'),
        ),
    ),
    Mistake(
        "values-converted", 1,
        "All values must stay strings; later chapters convert those that they need.",
        (
            one(_APPEND, _APPEND.replace("= value", "= int(value) if value.isdigit() else value")),
            one(_APPEND, _APPEND.replace(
                "= value", "= float(value) if value.replace('.', '').isdigit() else value")),
        ),
    ),
    Mistake(
        "brackets-kept", 1,
        "The type is the name without its square brackets: 'net', not '[net]'.",
        (
            one('line.strip("[]")', "line"),
            one('line.strip("[]")', "line[1:]"),
        ),
    ),
)  # fmt: skip
