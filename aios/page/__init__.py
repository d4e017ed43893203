"""Web page of the program, with one file per tab.

`layout.build_page` builds the page and `server.launch` serves it. May import all other rooms of
`aios`; no other room imports it. Gradio is imported in this room only.

To add a tab, write `NAME_tab.py` with one public function `build_NAME_tab(context)` that opens
`gr.Tab("...")`, creates the widgets and connects their events, and add it to `layout.TABS`.
A handler calls `context.visit(request)` once, at its start: the `Visit` holds the visitor's body
model, cached results and files, which are deleted at its end. Long jobs use `jobs.Jobs` and the
queue `LONG_QUEUE`, so that photos do not wait behind them.
"""
