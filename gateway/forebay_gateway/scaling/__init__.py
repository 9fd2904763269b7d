"""KEDA's external scaler: how many workers a queue needs. Pure, except the reading of figures."""
