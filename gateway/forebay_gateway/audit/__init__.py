"""The audit log: who was refused, who ended or read which call, and which keys have changed."""
