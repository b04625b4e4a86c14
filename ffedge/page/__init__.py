"""A page that shows a run: one HTML file that needs no network and runs no script.

`ffedge.page.page` puts it together; what the model says of rows stands in `answers`, drawings in `charts` and
`pictures`.
"""
