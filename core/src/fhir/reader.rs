//! The iterator over a file: probe, index, then one pass per kind of record.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Seek, SeekFrom};

use serde::Deserialize;
use serde_json::Value;

use super::Limits;
use super::appointment::AppointmentRecord;
use super::index::{Index, id_from_url};
use super::node::Node;
use super::people::{OrganizationRecord, PatientRecord, PractitionerRecord};
use super::prescription::PrescriptionRecord;
use super::probe::{Probed, probe};
use super::problem::{Effect, Problem};
use super::record::{Entry, Record};
use super::reference::{Kind, ResourceId};
use super::scan::count_values;
use super::split::{SplitError, Splitter, Unit};

/// The passes over the file, in the order records are needed.
const PASSES: [&[Kind]; 3] =
    [&[Kind::Organization], &[Kind::Practitioner, Kind::Patient], &[Kind::MedicationRequest, Kind::Appointment]];

/// Most names of resource types that are counted one by one.
const IGNORED_NAMES: usize = 200;

/// Yields the records of a file, and what was not understood. See [`read`](super::read).
pub struct Reader<R> {
    limits: Limits,
    index: Index,
    ignored: BTreeMap<String, u64>,
    present: BTreeMap<Kind, u64>,
    start: u64,
    stage: Stage<R>,
}

enum Stage<R> {
    Fresh(R),
    /// Collecting what references may point to; reports what cannot be read at all.
    Indexing(Splitter<R>),
    /// Making the records of one pass.
    Pass(usize, Splitter<R>),
    Done,
}

/// What is known of a unit without parsing all of it.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "resourceType")]
    kind: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
struct EntryHead {
    #[serde(rename = "fullUrl")]
    url: Option<String>,
    resource: Option<Head>,
    request: Option<RequestHead>,
}

#[derive(Deserialize)]
struct RequestHead {
    method: Option<String>,
}

impl<R: BufRead + Seek> Reader<R> {
    pub(super) fn new(reader: R, limits: Limits) -> Self {
        Self {
            limits,
            index: Index::default(),
            ignored: BTreeMap::new(),
            present: BTreeMap::new(),
            start: 0,
            stage: Stage::Fresh(reader),
        }
    }

    /// How many resources of types that PulseCal has no use for were passed over, by type.
    /// Complete once the first record came out.
    #[must_use]
    pub fn ignored(&self) -> &BTreeMap<String, u64> {
        &self.ignored
    }

    fn begin(&mut self, mut reader: R) -> Result<(), Problem> {
        match probe(&mut reader).map_err(|error| unreadable(&error))? {
            Probed::NoFhir(reason) => Err(file_problem(&format!(
                "this is no FHIR R4 ({reason}); expected a Bundle or NDJSON, in JSON and UTF-8"
            ))),
            Probed::Readable { layout, start } => {
                self.start = start;
                reader.seek(SeekFrom::Start(start)).map_err(|error| unreadable(&error))?;
                self.stage = Stage::Indexing(Splitter::new(reader, layout, self.limits.resource_bytes));
                Ok(())
            }
        }
    }

    /// The next pass from `pass` on that has anything to do.
    fn pass(&mut self, pass: usize, mut splitter: Splitter<R>) -> Result<(), Problem> {
        let wanted = |kinds: &&[Kind]| kinds.iter().any(|kind| self.present.contains_key(kind));
        let next = (pass..PASSES.len()).find(|next| PASSES.get(*next).is_some_and(wanted));
        if let Some(next) = next {
            splitter.restart(self.start).map_err(|error| unreadable(&error))?;
            self.stage = Stage::Pass(next, splitter);
        }
        Ok(())
    }

    /// One step; none when there is nothing to report yet.
    fn step(&mut self) -> Option<Result<Entry, Problem>> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Done => None,
            Stage::Fresh(reader) => self.begin(reader).err().map(Err),
            Stage::Indexing(mut splitter) => match splitter.next() {
                Err(error) => Some(Err(broken(&error))),
                Ok(None) => self.pass(0, splitter).err().map(Err),
                Ok(Some(unit)) => {
                    self.stage = Stage::Indexing(splitter);
                    let found = self.note(&unit).err().map(Err);
                    if self.index.len() > self.limits.indexed {
                        self.stage = Stage::Done;
                        let most = self.limits.indexed;
                        return Some(Err(file_problem(&format!(
                            "has more than {most} resources that others may refer to; split the file"
                        ))));
                    }
                    found
                }
            },
            Stage::Pass(pass, mut splitter) => match splitter.next() {
                Err(error) => Some(Err(broken(&error))),
                Ok(None) => self.pass(pass + 1, splitter).err().map(Err),
                Ok(Some(unit)) => {
                    self.stage = Stage::Pass(pass, splitter);
                    self.convert(&unit, PASSES.get(pass).copied().unwrap_or_default())
                }
            },
        }
    }

    /// First sight of a unit: counts it, or says why it cannot be read at all.
    fn note(&mut self, unit: &Unit) -> Result<(), Problem> {
        let problem = |path: &str, reason: &str| Err(Problem::new(Effect::Skipped, &unit.place, path, reason));
        let Some(bytes) = &unit.bytes else {
            let most = self.limits.resource_bytes;
            return problem("", &format!("is longer than {most} bytes and was passed over"));
        };
        let head = match head(bytes, unit.is_entry) {
            Ok(head) => head,
            Err(error) if error.is_data() => {
                return problem("", "is no FHIR resource: resourceType, id or fullUrl is missing its text");
            }
            Err(_) => return problem("", "is no well-formed JSON"),
        };
        let method = head.request.and_then(|request| request.method);
        if method.as_deref() == Some("DELETE") {
            return problem("request.method", "asks to delete; an import only adds and changes");
        }
        let Some(resource) = head.resource else {
            return problem("resource", "is missing");
        };
        let Some(name) = resource.kind else {
            return problem("resourceType", "is missing, so this is no FHIR resource");
        };
        match (name.as_str(), Kind::parse(&name)) {
            (_, Some(kind)) => {
                *self.present.entry(kind).or_default() += 1;
                let id = source_id(resource.id.as_deref(), head.url.as_deref());
                if let (Some(url), Some(id)) = (&head.url, &id) {
                    self.index.add_url(url, kind, id);
                }
                match (kind, id) {
                    (Kind::Medication | Kind::PractitionerRole, Some(id)) => self.index_more(unit, bytes, kind, id),
                    _ => Ok(()),
                }
            }
            ("Bundle", None) => problem("", "is a Bundle inside another one, which is not read"),
            ("MedicationOrder" | "MedicationPrescription", None) => problem("", "is of FHIR DSTU2; only R4 is read"),
            (_, None) => {
                self.ignore(name);
                Ok(())
            }
        }
    }

    fn ignore(&mut self, name: String) {
        let plain = name.len() <= 64 && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
        let known = self.ignored.contains_key(&name) || self.ignored.len() < IGNORED_NAMES;
        let name = if plain && known { name } else { "other".to_owned() };
        *self.ignored.entry(name).or_default() += 1;
    }

    /// Keeps the names of medicines, and whom a role belongs to.
    fn index_more(&mut self, unit: &Unit, bytes: &[u8], kind: Kind, id: ResourceId) -> Result<(), Problem> {
        let label = format!("{kind}/{id}");
        let value = self.parse(unit, bytes, &label)?;
        let root = Node::root(&label, kind.as_str(), &value);
        root.refuse_modifiers()?;
        if kind == Kind::Medication {
            let name = match root.object("code")? {
                None => None,
                Some(code) => code.concept_name()?,
            };
            self.index.add_medication(id, name);
        } else if let Some(practitioner) = root.object("practitioner")?
            && let Some(reference) = practitioner.str("reference")?
        {
            self.index.add_role(id, reference);
        }
        Ok(())
    }

    /// The resource of a unit as JSON.
    fn parse(&self, unit: &Unit, bytes: &[u8], label: &str) -> Result<Value, Problem> {
        let problem = |reason: &str| Problem::new(Effect::Skipped, label, "", reason);
        if count_values(bytes) > self.limits.json_values {
            let most = self.limits.json_values;
            return Err(problem(&format!("has more than {most} values")));
        }
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|_| problem("is no well-formed JSON, or nested too deeply"))?;
        Ok(match value.get_mut("resource") {
            Some(resource) if unit.is_entry => resource.take(),
            _ => value,
        })
    }

    /// The record of a unit, if it is of one of the kinds.
    fn convert(&self, unit: &Unit, kinds: &[Kind]) -> Option<Result<Entry, Problem>> {
        // What cannot be read was reported when the file was indexed.
        let bytes = unit.bytes.as_ref()?;
        let head = head(bytes, unit.is_entry).ok()?;
        if head.request.is_some_and(|request| request.method.as_deref() == Some("DELETE")) {
            return None;
        }
        let resource = head.resource?;
        let kind = Kind::parse(&resource.kind?).filter(|kind| kinds.contains(kind))?;
        Some(self.record(unit, bytes, kind, resource.id.as_deref(), head.url.as_deref()))
    }

    fn record(
        &self,
        unit: &Unit,
        bytes: &[u8],
        kind: Kind,
        id: Option<&str>,
        url: Option<&str>,
    ) -> Result<Entry, Problem> {
        let place = |path: &str, reason: &str| Problem::new(Effect::Skipped, &unit.place, path, reason);
        let Some(id) = source_id(id, url) else {
            let path = format!("{kind}.id");
            return Err(place(&path, "is missing or no FHIR id, so a second import could not find the first"));
        };
        let label = format!("{kind}/{id}");
        let value = self.parse(unit, bytes, &label)?;
        let root = Node::root(&label, kind.as_str(), &value);
        if url.is_some_and(|url| self.index.is_foreign(url)) {
            return Err(root.problem(
                "comes from another server than the file's first resource; import each server's file by itself",
            ));
        }
        root.refuse_modifiers()?;
        if root.has("implicitRules") {
            return Err(root.problem_at("implicitRules", "names rules that PulseCal does not know"));
        }
        let mut notes = Vec::new();
        let index = &self.index;
        let record = match kind {
            Kind::Organization => Record::Organization(OrganizationRecord::from_node(id, &root, &mut notes)?),
            Kind::Practitioner => Record::Practitioner(PractitionerRecord::from_node(id, &root, &mut notes)?),
            Kind::Patient => Record::Patient(PatientRecord::from_node(id, &root, index, &mut notes)?),
            Kind::MedicationRequest => {
                Record::Prescription(Box::new(PrescriptionRecord::from_node(id, &root, index, &mut notes)?))
            }
            Kind::Appointment => Record::Appointment(AppointmentRecord::from_node(id, &root, index, &mut notes)?),
            Kind::Medication | Kind::PractitionerRole => {
                return Err(root.problem("is no record of its own"));
            }
        };
        Ok(Entry { place: unit.place.clone(), record, notes })
    }
}

impl<R: BufRead + Seek> Iterator for Reader<R> {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if matches!(self.stage, Stage::Done) {
                return None;
            }
            if let Some(item) = self.step() {
                return Some(item);
            }
        }
    }
}

fn head(bytes: &[u8], is_entry: bool) -> serde_json::Result<EntryHead> {
    if is_entry {
        return serde_json::from_slice(bytes);
    }
    Ok(EntryHead { url: None, resource: Some(serde_json::from_slice(bytes)?), request: None })
}

/// The id that a resource has, or that its `fullUrl` gives it.
fn source_id(id: Option<&str>, url: Option<&str>) -> Option<ResourceId> {
    match id {
        Some(id) => id.parse().ok(),
        None => id_from_url(url?),
    }
}

fn file_problem(reason: &str) -> Problem {
    Problem::new(Effect::Stopped, "file", "", reason)
}

fn unreadable(error: &io::Error) -> Problem {
    file_problem(&format!("could not be read: {}", error.kind()))
}

fn broken(error: &SplitError) -> Problem {
    match error {
        SplitError::Io(error) => unreadable(error),
        SplitError::NoBundle => file_problem("has a list named entry, but is no Bundle; this is no FHIR R4"),
        SplitError::Malformed { truncated: true, .. } => file_problem("ends in the middle; nothing of it was imported"),
        SplitError::Malformed { line, .. } => {
            file_problem(&format!("is no well-formed JSON from line {line} on; nothing of it was imported"))
        }
    }
}
