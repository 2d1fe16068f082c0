-- A snapshot is read in pieces, in the order of its revisions; one revision may
-- have written every document of a site.

-- +goose Up
DROP INDEX document_rev;
CREATE INDEX document_rev ON document (site, rev, kind, id);
