-- What a resource said when it was last imported, as a fingerprint. One that says the same again changes nothing, so what was
-- done here since then stays. None: of the release that did not keep it, or of a sort that is always written anew.
ALTER TABLE imported_resources ADD COLUMN fingerprint text;
