-- What is deployed and what there is, as PostgresML shows it. In the rights of who reads.
CREATE VIEW pgml.overview WITH (security_invoker = true) AS
    SELECT p.name, d.created_at AS deployed_at, p.task, m.algorithm, m.runtime,
           s.relation_name, s.y_column_name, s.test_sampling, s.test_size
    FROM pgml.projects AS p
        JOIN pgml.models AS m ON m.project_id = p.id
        JOIN pgml.deployments AS d ON d.project_id = p.id AND d.model_id = m.id
        JOIN pgml.snapshots AS s ON s.id = m.snapshot_id
    ORDER BY d.created_at DESC;
COMMENT ON VIEW pgml.overview IS 'one row per deployment, newest first';
COMMENT ON COLUMN pgml.overview.name IS 'name of the project';
COMMENT ON COLUMN pgml.overview.deployed_at IS 'when the model was deployed';
COMMENT ON COLUMN pgml.overview.task IS 'what the project is for';
COMMENT ON COLUMN pgml.overview.algorithm IS 'how the model was trained';
COMMENT ON COLUMN pgml.overview.runtime IS 'which library trained it';
COMMENT ON COLUMN pgml.overview.relation_name IS 'what it was trained on';
COMMENT ON COLUMN pgml.overview.y_column_name IS 'what it predicts';
COMMENT ON COLUMN pgml.overview.test_sampling IS 'which rows were kept for the test';
COMMENT ON COLUMN pgml.overview.test_size IS 'how many rows were kept for the test';

CREATE VIEW pgml.trained_models WITH (security_invoker = true) AS
    SELECT m.id, p.name, p.task, m.algorithm, m.runtime, m.created_at, s.test_sampling, s.test_size,
           p.serving_model IS NOT DISTINCT FROM m.id AS deployed
    FROM pgml.projects AS p
        JOIN pgml.models AS m ON m.project_id = p.id
        JOIN pgml.snapshots AS s ON s.id = m.snapshot_id
    ORDER BY m.created_at DESC;
COMMENT ON VIEW pgml.trained_models IS 'one row per model, newest first';
COMMENT ON COLUMN pgml.trained_models.id IS 'number of the model';
COMMENT ON COLUMN pgml.trained_models.name IS 'name of the project';
COMMENT ON COLUMN pgml.trained_models.task IS 'what the project is for';
COMMENT ON COLUMN pgml.trained_models.algorithm IS 'how the model was trained';
COMMENT ON COLUMN pgml.trained_models.runtime IS 'which library trained it';
COMMENT ON COLUMN pgml.trained_models.created_at IS 'when it was trained';
COMMENT ON COLUMN pgml.trained_models.test_sampling IS 'which rows were kept for the test';
COMMENT ON COLUMN pgml.trained_models.test_size IS 'how many rows were kept for the test';
COMMENT ON COLUMN pgml.trained_models.deployed IS 'whether it predicts for its project now';

CREATE VIEW pgml.deployed_models WITH (security_invoker = true) AS
    SELECT m.id, p.name, p.task, m.algorithm, m.runtime, d.created_at AS deployed_at
    FROM pgml.projects AS p
        JOIN pgml.models AS m ON m.id = p.serving_model
        CROSS JOIN LATERAL (
            SELECT max(x.created_at) AS created_at FROM pgml.deployments AS x
            WHERE x.project_id = p.id AND x.model_id = m.id) AS d
    ORDER BY p.name;
COMMENT ON VIEW pgml.deployed_models IS 'the model that predicts for each project, by name';
COMMENT ON COLUMN pgml.deployed_models.id IS 'number of the model';
COMMENT ON COLUMN pgml.deployed_models.name IS 'name of the project';
COMMENT ON COLUMN pgml.deployed_models.task IS 'what the project is for';
COMMENT ON COLUMN pgml.deployed_models.algorithm IS 'how the model was trained';
COMMENT ON COLUMN pgml.deployed_models.runtime IS 'which library trained it';
COMMENT ON COLUMN pgml.deployed_models.deployed_at IS 'when it was deployed';

CREATE VIEW pgml.granted_models WITH (security_invoker = true) AS
    SELECT p.name, g.grantee, g.owner, g.created_at
    FROM pgml.model_grants AS g JOIN pgml.projects AS p ON p.id = g.project_id
    ORDER BY p.name, g.grantee::text;
COMMENT ON VIEW pgml.granted_models IS 'the grants that the role gave or got';
COMMENT ON COLUMN pgml.granted_models.name IS 'name of the project';
COMMENT ON COLUMN pgml.granted_models.grantee IS 'who may use it; - is everybody (PUBLIC)';
COMMENT ON COLUMN pgml.granted_models.owner IS 'who granted it';
COMMENT ON COLUMN pgml.granted_models.created_at IS 'when it was granted';

GRANT SELECT ON pgml.overview, pgml.trained_models, pgml.deployed_models, pgml.granted_models TO pgml_user;
