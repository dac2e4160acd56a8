"""Workers on several hosts: a node that signs, and machines that compute for it, with a Postgres database between."""
