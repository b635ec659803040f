"""One file per command of ``darknet-builder``.

Each has ``HELP`` (one line), ``EXAMPLES`` (text under ``--help``), ``add_arguments(parser)`` and
``run(args, out) -> int``, which writes its answer to ``out`` and returns the exit status. ``args.make_whole_parser()``
makes the parser that knows every command.
"""
