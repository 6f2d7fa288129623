//! A clinic with years behind it: so many patients, each with visits, a medicine, doses, messages, and looks on record.

use sqlx::PgPool;
use uuid::Uuid;

/// Doctors of it.
pub const DOCTORS: i32 = 50;

/// A clinic that is loaded.
#[derive(Clone, Copy, Debug)]
pub struct BigClinic {
    /// The organization.
    pub org: Uuid,
    /// Patients.
    pub patients: i32,
}

/// Ids that are known without asking: `sort` 1 doctors, 2 patients, 3 visits ahead, 4 prescriptions, 5 reminders, 6 emergency contacts.
fn id(sort: u16, i: i32) -> Uuid {
    let i = u64::try_from(i).expect("a number of a row");
    let base = Uuid::from_fields(0x0197_a000, sort, 0x7000, &[0x80, 0, 0, 0, 0, 0, 0, 0]).as_u128();
    Uuid::from_u128(base + u128::from(i))
}

impl BigClinic {
    /// Loads it, and leaves the statistics as they are on a server that has run for a while.
    ///
    /// # Panics
    /// If Postgres does not take it.
    pub async fn load(pool: &PgPool, patients: i32) -> Self {
        let org = id(0, 1);
        for sql in LOAD {
            sqlx::query(sql)
                .bind(org)
                .bind(patients)
                .bind(DOCTORS)
                .execute(pool)
                .await
                .unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
        sqlx::query("VACUUM ANALYZE").execute(pool).await.expect("statistics");
        Self { org, patients }
    }

    /// A doctor, from 0 on.
    pub fn doctor(self, i: i32) -> Uuid {
        id(1, i)
    }

    /// A patient, from 0 on.
    pub fn patient(self, i: i32) -> Uuid {
        id(2, i)
    }

    /// The visit that patient `i`, a fifth of them, has ahead.
    pub fn visit(self, i: i32) -> Uuid {
        id(3, i / 5 * 5)
    }

    /// The prescription of patient `i`.
    pub fn prescription(self, i: i32) -> Uuid {
        id(4, i)
    }

    /// The first emergency contact of patient `i`.
    pub fn contact(self, i: i32) -> Uuid {
        id(6, 2 * i)
    }

    /// The first medical record of patient `i`, of three.
    pub fn record(self, i: i32) -> Uuid {
        id(7, 3 * i)
    }

    /// Its reminder.
    pub fn reminder(self, i: i32) -> Uuid {
        id(5, i)
    }
}

/// `$1` the organization, `$2` patients, `$3` doctors; each statement names all three, so that they can be bound alike.
const LOAD: [&str; 15] = [
    "INSERT INTO organizations (org_id, name, zone, created_at, updated_at) SELECT $1, 'Large clinic', 'Europe/Berlin', now(), now() WHERE $2::int > 0 AND $3::int > 0",
    "INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at)
     SELECT uuid('0197a000-0001-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, 'doctor', 'Dr', 'Doctor-' || i, now(), now() FROM generate_series(0, $3 - 1) i WHERE $2::int > 0",
    "INSERT INTO people (person_id, org_id, role, given_name, family_name, birth_date, email, created_at, updated_at)
     SELECT uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, 'patient', (ARRAY['Amina', 'Elena', 'Jonas', 'Oskar', 'Tove', 'Wanjiru', 'Zofia'])[1 + i % 7],
       'Family-' || to_hex(hashint4(i)::bigint & 16777215), date '1930-01-01' + i % 30000, 'patient' || i || '@patients.example.org', now(), now()
     FROM generate_series(0, $2 - 1) i WHERE $3::int > 0",
    // Two visits that are over, each.
    "INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
     SELECT gen_random_uuid(), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i % $2), 12, '0')), uuid('0197a000-0001-7000-8000-' || lpad(to_hex(i % $3), 12, '0')),
       t, t + interval '20 minutes', 'fulfilled', t, t
     FROM generate_series(0, 2 * $2 - 1) i, LATERAL (SELECT date_trunc('hour', now()) - (1 + i / $3) * interval '4 hours' AS t) AS at",
    // And one ahead for a fifth of them, beginning tomorrow: three an hour with each doctor, round the clock.
    "INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
     SELECT uuid('0197a000-0003-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i), 12, '0')),
       uuid('0197a000-0001-7000-8000-' || lpad(to_hex(i / 5 % $3), 12, '0')), t, t + interval '20 minutes', 'booked', now(), now()
     FROM generate_series(0, $2 - 1, 5) i, LATERAL (SELECT date_trunc('day', now()) + interval '1 day' + (i / 5 / $3) * interval '20 minutes' AS t) AS at",
    "INSERT INTO prescriptions (prescription_id, org_id, patient_id, prescriber_id, medicine, dosage, created_at, updated_at)
     SELECT uuid('0197a000-0004-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i), 12, '0')),
       uuid('0197a000-0001-7000-8000-' || lpad(to_hex(i % $3), 12, '0')), 'Examplomycin 5 mg', '1 tablet', now(), now()
     FROM generate_series(0, $2 - 1) i",
    "INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, created_at, updated_at)
     SELECT uuid('0197a000-0005-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, uuid('0197a000-0004-7000-8000-' || lpad(to_hex(i), 12, '0')),
       uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i), 12, '0')),
       '{\"kind\": \"times_of_day\", \"times\": [\"08:00:00\"], \"days\": {\"every\": \"day\"}, \"start\": \"2026-01-01\", \"end\": null}', 'wall_clock', now(), now()
     FROM generate_series(0, $2 - 1) i WHERE $3::int > 0",
    // Two emergency contacts each.
    "INSERT INTO emergency_contacts (contact_id, org_id, patient_id, name, relationship, phone, is_primary, created_at, updated_at)
     SELECT uuid('0197a000-0006-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i / 2), 12, '0')), 'Contact-' || i, 'spouse',
       '+49 30 5550100', i % 2 = 0, now(), now() FROM generate_series(0, 2 * $2 - 1) i WHERE $3::int > 0",
    // Three medical records each.
    "INSERT INTO medical_records (record_id, org_id, patient_id, author_id, kind, title, occurred_on, recorded_at, updated_at)
     SELECT uuid('0197a000-0007-7000-8000-' || lpad(to_hex(i), 12, '0')), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i / 3), 12, '0')),
       uuid('0197a000-0001-7000-8000-' || lpad(to_hex(i / 3 % $3), 12, '0')), 'note', 'Note ' || i, current_date - i % 700, now(), now()
     FROM generate_series(0, 3 * $2 - 1) i",
    "INSERT INTO record_attachments (attachment_id, org_id, record_id, author_id, file_name, media_type, bytes, sha256, content, added_at)
     SELECT gen_random_uuid(), org_id, record_id, author_id, 'note.txt', 'text/plain', 4, sha256('note'), 'note', now() FROM medical_records WHERE org_id = $1 AND get_byte(uuid_send(record_id), 15) % 5 = 0 AND $2::int > 0 AND $3::int > 0",
    "INSERT INTO insurances (insurance_id, org_id, patient_id, kind, provider, policy_number, subscriber_name, relationship, effective_on, currency, created_at, updated_at)
     SELECT gen_random_uuid(), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i), 12, '0')), 'public', 'Example Health', 'A-' || i, 'Subscriber ' || i, 'self',
       '2020-01-01', 'EUR', now(), now() FROM generate_series(0, $2 - 1) i WHERE $3::int > 0",
    // Two payments each: one that is paid, one that is due.
    "INSERT INTO payments (payment_id, org_id, patient_id, kind, method, currency, amount, due_on, state, completed_at, created_at, updated_at)
     SELECT gen_random_uuid(), $1, uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i / 2), 12, '0')), 'consultation', 'card', 'EUR', 4500,
       CASE WHEN i % 2 = 1 THEN current_date + i % 60 END, CASE WHEN i % 2 = 0 THEN 'completed' ELSE 'pending' END, CASE WHEN i % 2 = 0 THEN t END, t, t
     FROM generate_series(0, 2 * $2 - 1) i, LATERAL (SELECT now() - i * interval '2 minutes' AS t) AS at WHERE $3::int > 0",
    // Four doses each: two that were taken, two to come.
    "INSERT INTO dose_occurrences (occurrence_id, org_id, reminder_id, patient_id, slot, due_at, zone, state, ladder_at, next_at, settled_at, updated_at)
     SELECT gen_random_uuid(), $1, uuid('0197a000-0005-7000-8000-' || lpad(to_hex(i), 12, '0')), uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i), 12, '0')),
       t, t AT TIME ZONE 'UTC', 'Etc/UTC', CASE WHEN day < 0 THEN 'taken' ELSE 'planned' END, t AT TIME ZONE 'UTC',
       CASE WHEN day > 0 THEN t AT TIME ZONE 'UTC' END, CASE WHEN day < 0 THEN t AT TIME ZONE 'UTC' END, now()
     FROM generate_series(0, $2 - 1) i, unnest(ARRAY[-2, -1, 1, 2]) AS day, LATERAL (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') + day * interval '1 day' + interval '8 hours' AS t) AS at
     WHERE $3::int > 0",
    "INSERT INTO messages (id, org_id, kind, subject_id, occurrence, recipient_id, channel, message_id, state, category, privacy_level, job_id, job_attempt, job_worker,
       created_at, sending_at, settled_at)
     SELECT gen_random_uuid(), $1, 'medication_reminder', gen_random_uuid(), 'first', uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i % $2), 12, '0')), 'email',
       '<' || i || '@clinic.example.org>', 'sent', 'required', 1, gen_random_uuid(), 1, gen_random_uuid(), t, t, t
     FROM generate_series(0, 2 * $2 - 1) i, LATERAL (SELECT now() - i * interval '10 seconds' AS t) AS at WHERE $3::int > 0",
    "INSERT INTO audit_entries (id, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, detail, request_id)
     SELECT gen_random_uuid(), $1, now() - i * interval '10 seconds', 'person', uuid('0197a000-0001-7000-8000-' || lpad(to_hex(i % $3), 12, '0')), 'doctor', 'patient.read',
       'person', patient, jsonb_build_object('patients', jsonb_build_array(patient)), gen_random_uuid()
     FROM generate_series(0, 2 * $2 - 1) i, LATERAL (SELECT uuid('0197a000-0002-7000-8000-' || lpad(to_hex(i % $2), 12, '0')) AS patient) AS of",
];
