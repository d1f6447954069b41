CREATE TABLE registry_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT registry_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE registry_heads (
    tenant TEXT NOT NULL, 
    sequence BIGINT NOT NULL, 
    PRIMARY KEY (tenant)
);

CREATE TABLE registry_rows (
    tenant TEXT NOT NULL, 
    kind TEXT NOT NULL, 
    id TEXT NOT NULL, 
    version BIGINT NOT NULL, 
    sequence BIGINT NOT NULL, 
    document TEXT NOT NULL, 
    written_by TEXT NOT NULL, 
    written_at BIGINT NOT NULL, 
    deleted BOOLEAN NOT NULL, 
    PRIMARY KEY (tenant, kind, id)
);

CREATE UNIQUE INDEX registry_rows_sequence ON registry_rows (tenant, sequence);

INSERT INTO registry_version (version_num) VALUES ('0001') RETURNING version_num;

