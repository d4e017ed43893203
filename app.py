"""Serve the page: `python app.py`; `python app.py --help` lists the options."""

import sys

from aios.page.main import main

if __name__ == "__main__":
    sys.exit(main())
