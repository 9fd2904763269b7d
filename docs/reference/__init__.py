"""The pages of reference, made from the sources: `make reference`.

`make check` sees that they are fresh. A page is written by hand but for its regions: what stands
between `<!-- made: TABLE ARGUMENT… -->` and `<!-- end -->` is what the function TABLE of
`docs.reference.tables` returns. So a forge shows the pages whole, and the site needs nothing else.
"""
