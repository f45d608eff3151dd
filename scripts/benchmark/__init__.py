"""What `scripts/bench.py` measures, a module a kind of measurement; the figures and their table are in `report`."""
