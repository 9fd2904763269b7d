"""Fills the generated regions of the documentation's pages from the sources: `make reference`.

`make check` fails if a page is stale. A region is the text between `<!-- made: TABLE ARGUMENT… -->`
and `<!-- end -->`; the function TABLE of `docs.reference.tables` returns it. The rest of a page is
written by hand. The filled pages are committed, so they are complete where the repository is
browsed, and the site's build needs no plugin.
"""
