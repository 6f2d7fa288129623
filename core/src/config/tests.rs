use super::*;

fn read(pairs: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([
        ("DATABASE_URL", "postgres://someone@localhost/pulsecal"),
        ("REDIS_URL", "redis://localhost"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
    ]);
    all.extend(pairs.iter().copied());
    Config::read(&|name| all.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn defaults_hold_where_nothing_is_set() {
    let config = read(&[]).expect("the defaults are valid");
    assert_eq!(config.worker_queues.0[&Queue::Reminders], 512);
    assert_eq!(config.belt, BeltKind::Native);
    assert_eq!(config.job_history_months.count(), 13);
    assert!(config.smtp_url.is_none());
}

#[test]
fn a_wrong_value_is_named_in_one_line_and_not_shown() {
    for (name, value) in [
        ("DATABASE_URL", "mysql://root:hunter2@localhost"),
        ("DATABASE_URL", "postgres://root:hunter2@db.example/pulsecal"),
        ("REDIS_URL", "redis://:hunter2@cache.example"),
        ("PLAINTEXT_HOSTS", "redis://hunter2"),
        ("SECRET_KEY", "hunter2"),
        ("BIND", "hunter2"),
        ("WORKER_QUEUES", "reminders=0"),
        ("WORKER_QUEUES", "pigeons=2"),
        ("BELT", "hunter2"),
        ("RATE_LIMITS", "hunter2"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://a.example.org, hunter2"),
        ("SMTP_URL", "hunter2"),
        ("BLOB_URL", "hunter2"),
        ("BACKUP_RECIPIENT", "hunter2"),
        ("BACKUP_KEEP", "hunter2"),
        ("ALERT_MAIL", "ops@clinic.example, hunter2"),
        ("BLOB_URL", "http://hunter2/x"),
        ("JOB_HISTORY_MONTHS", "hunter2"),
        ("JOB_HISTORY_MONTHS", "0"),
        ("LOG_FORMAT", "hunter2"),
    ] {
        let said = read(&[(name, value)]).expect_err(name).to_string();
        assert!(said.starts_with(name), "{said}");
        assert!(!said.contains("hunter2") && !said.contains('\n'), "{said}");
    }
}

#[test]
fn a_client_is_set_as_a_whole_and_its_issuer_is_google_or_the_one_that_is_named() {
    let client = [("GOOGLE_CLIENT_ID", "us"), ("GOOGLE_CLIENT_SECRET", "hunter2")];
    let at = |issuer| read(&[client[0], client[1], ("OIDC_ISSUER", issuer)]);
    for (issuer, asked) in [
        ("", "https://accounts.google.com"),
        ("https://id.clinic.example", "https://id.clinic.example"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ] {
        assert_eq!(at(issuer).expect("valid").oidc.expect("set").issuer(), asked);
    }
    for bad in ["http://accounts.example.com", "hunter2", "https://a.example/?x"] {
        let said = at(bad).expect_err(bad).to_string();
        assert!(said.starts_with("OIDC_ISSUER: ") && !said.contains("hunter2"), "{said}");
    }
    let issuer = ("OIDC_ISSUER", "https://a.example");
    for (set, missing) in [
        (vec![client[0]], "GOOGLE_CLIENT_SECRET: "),
        (vec![client[1]], "GOOGLE_CLIENT_ID: "),
        (vec![issuer], "GOOGLE_CLIENT_ID: "),
        (vec![issuer, client[0]], "GOOGLE_CLIENT_SECRET: "),
    ] {
        let said = read(&set).expect_err(missing).to_string();
        assert!(said.starts_with(missing) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn secrets_do_not_show_in_debug() {
    let shown = format!("{:?}", read(&[]).expect("valid"));
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("someone"), "{shown}");
}
