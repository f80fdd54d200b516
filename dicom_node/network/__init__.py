"""What speaks to peers: sockets with limits, the receiver, requests to other application entities, delivery.

Read `bounded_sockets` first, then `receiver` (what others ask of us) and `requestor` (what we ask of others). Below the
receiver lie `bounded_server`, `accepted_association`, `upper_layer`, `message_assembly` and `accepted_socket`, in this
order from the listening port to the bytes; `receiver_processes` runs several receivers on one port.
"""
