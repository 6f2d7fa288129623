DROP VIEW job_attempts, job_list;
DROP TABLE schedule_slots, schedules, belt_state, processes, job_retries, job_history, jobs;
