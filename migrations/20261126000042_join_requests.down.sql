DROP FUNCTION withdraw_join_request(uuid, uuid, timestamptz);
DROP FUNCTION own_join_requests(uuid, timestamptz, uuid, bigint);
DROP FUNCTION ask_to_join(uuid, uuid, uuid, text, timestamptz);
DROP TABLE join_requests;
