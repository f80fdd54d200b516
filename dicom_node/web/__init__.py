"""The operator's page: every case, the map over its CT, decisions of people, tools for whoever looks after the node."""
