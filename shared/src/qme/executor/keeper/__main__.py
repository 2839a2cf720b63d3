"""Entry of the keeper when its folder is run; the package is found beside this file, qme itself is never imported."""

import importlib
import os.path
import sys

# Last on the path, so that no file of the SDK can shadow a module of the standard library.
sys.path[:] = [*sys.path[1:], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
sys.exit(importlib.import_module("keeper.program").main(sys.argv[1:]))
