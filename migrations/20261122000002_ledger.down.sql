DROP VIEW job_attempts, job_list;
DROP FUNCTION job_history_trim(date), job_history_drop_month(date), job_history_check_limit(date), job_history_rest_months(),
  job_history_make_month(date), job_history_seal(regclass);
DROP TABLE schedule_slots, schedules, belt_state, processes, job_retries, job_history, jobs;  -- with all its partitions
