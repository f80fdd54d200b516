"""What speaks to peers: sockets with limits, the receiver, requests to other application entities, delivery.

Read `bounded_sockets` first, then `receiver` (what others ask of us) and `requestor` (what we ask of others).
"""
