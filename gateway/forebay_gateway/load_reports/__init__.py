"""ORCA: a report of the gateway's utilization in the trailers of each call.

gRPC clients with `weighted_round_robin`, and proxies, balance their calls by it (gRFC A51, A58). As
in gRPC's own servers, a setting of the server turns the reports on; clients do not request them.
"""
