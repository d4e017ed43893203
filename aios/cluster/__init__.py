"""Photos and videos of a data set on many machines, with Ray: `python -m aios.cluster`.

May import everything below it: the pipelines, the predictor, `aios.export`, `aios.media` and
`aios.people`. `ray`, `pyarrow` and `fsspec` come with the extra `cluster` and are imported here
only.
"""
