"""The analytics stream app: `execution_events` in, a record per flow and minute on `execution_statistics` out.

Two steps, because the events of one flow stand in all partitions.  `reading` (by execution) finds the flow of each
event and counts a batch into parts; `closing` (by flow) adds the parts up and writes a window when every partition has
been read beyond it.  Both are plain functions of records; `app` puts them on Faust, whose tables keep their state.
"""
