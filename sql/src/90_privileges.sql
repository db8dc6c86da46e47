-- Nothing here is PUBLIC's. Each file grants what it makes; behind the grants stands the
-- gate in 30_authorize.sql, which a direct read of a table meets as well.
REVOKE ALL ON ALL TABLES IN SCHEMA pgml FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgml FROM PUBLIC;
REVOKE ALL ON FOREIGN DATA WRAPPER pgannex FROM PUBLIC;
REVOKE ALL ON FOREIGN SERVER pgannex FROM PUBLIC;
