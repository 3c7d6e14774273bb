"""What the library costs: `make bench`, or `python -m benchmarks` with `tools` on PYTHONPATH."""
