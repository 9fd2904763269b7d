"""ORCA: a report of the gateway's utilization in the trailers of each call, where it is on.

gRPC's own `weighted_round_robin` clients, and proxies, spread their calls by it (gRFC A51, A58). As
in gRPC's own servers, a setting of the server turns the reports on; clients do not ask for them.
"""
