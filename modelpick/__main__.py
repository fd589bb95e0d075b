"""`python -m modelpick`."""

from modelpick.cli.main import main

main()
