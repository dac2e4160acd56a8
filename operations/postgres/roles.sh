#!/bin/sh
# Postgres runs this once, when its folder is new: a role for nodes and one for workers, each with its password. What they
# may do, `didyma fleet prepare --node didyma_node --worker didyma_worker` gives them.
set -eu
for role in node worker; do
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        --set role="didyma_$role" --set password="$(cat "/run/secrets/fleet_${role}_password")" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
SQL
done
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL
