DROP INDEX messages_by_recipient;
DROP INDEX people_by_name;
