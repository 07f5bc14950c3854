"""`python -m simpang`: the command line, for whoever has the interpreter but not the script."""

import sys

from simpang.cli.main import main

sys.exit(main())
