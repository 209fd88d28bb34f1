"""The words by which names of columns and tables are recognized: the one place to add another.

A name says a word if one of its parts is the word (`patient_id`, `patientId`, `PATIENT-ID` have the parts patient and
id), or, for words of four letters and more, if it contains the word (`patientid`). A word with `*` before it is also
said by a part that ends with it (`*uom` by `rateuom`). Words are written without accents, and with `ue` for `ü`.
"""

import re
import unicodedata
from enum import StrEnum
from functools import cache


class Word(StrEnum):
    """What a name may say."""

    SUBJECT = "subject"
    IDENTIFIER = "identifier"
    VISIT = "visit"
    BIRTH = "birth"
    DEATH = "death"
    START = "start"
    END = "end"
    RECORDED = "recorded"
    TIME = "time"
    DAY = "day"
    CODE = "code"
    LABEL = "label"
    SYSTEM = "system"
    KIND = "kind"
    VALUE = "value"
    NO_VALUE = "no value"
    UNIT = "unit"
    NOTE = "note"
    FLAG = "flag"
    SEX = "sex"
    TRAIT = "trait"
    CHANGING = "changing"
    ORDER = "order"
    PERSONAL = "personal"
    DESCRIPTION = "description"


WORDS: dict[Word, str] = {
    Word.SUBJECT: "subject patient person participant pat mrn pid patid patnr pnr member beneficiary paciente "
    "pseudonym",
    Word.IDENTIFIER: "id ids nr no num number key identifier uuid guid hash pseudonym nummer kennung index *id",
    Word.VISIT: "visit encounter enc hadm admission stay case episode fall fallnr aufenthalt csn hospitalization "
    "sejour",
    Word.BIRTH: "birth born dob bday geburt geburtsdatum geboren gebdat naissance nacimiento",
    Word.DEATH: "death died dead dod deceased sterbe gestorben todesdatum tod verstorben deces fallecimiento",
    Word.START: "start begin began admit admitted admission in from reg arrival arrived entry onset open aufnahme von "
    "beginn debut first",
    Word.END: "end stop disch discharge discharged discharges out to until exit departure finish close entlassung "
    "entlass bis ende fin last final",
    Word.RECORDED: "store stored record recorded entered updated modified created verified validated saved import "
    "loaded erfasst freigabe",
    Word.TIME: "time datetime timestamp date day dt ts at on when datum zeit zeitpunkt zeitstempel uhrzeit tag fecha "
    "hora heure",
    Word.DAY: "date day datum tag fecha",
    Word.CODE: "code item itemid test analyte parameter param concept drug medication medikament substance substanz "
    "diagnosis diagnose procedure prozedur icd ops loinc snomed atc ndc rxnorm vital measure observation variable "
    "feature component cd artikel untersuchung kuerzel organism laboratory",
    Word.LABEL: "name label desc description title term bezeichnung",
    Word.SYSTEM: "version system vocabulary terminology vocab codesystem coding",
    Word.KIND: "type kind class category ward department careunit location service specialty "
    "priority station abteilung fach art",
    Word.VALUE: "value valuenum result amount dose quantity measurement reading level rate volume count score wert "
    "ergebnis messwert menge dosis resultat valeur valor val",
    Word.NO_VALUE: "lower upper range low high normal min max ref referenz limit version weight isolate",
    Word.ORDER: "seq sequence order line row rank position lfd unnamed",
    Word.UNIT: "unit units *uom einheit einh unite unidad",
    Word.NOTE: "note notes comment comments remark text free report bemerkung kommentar anmerkung freitext",
    Word.FLAG: "flag abnormal interpretation warning status",
    Word.SEX: "sex gender geschlecht sexe sexo",
    Word.TRAIT: "race ethnicity ethnic language marital religion insurance nationality country sprache herkunft "
    "familienstand versicherung krankenkasse",
    Word.CHANGING: "insurance versicherung krankenkasse kasse payer marital familienstand weight gewicht bmi smoker "
    "smoking raucher employment occupation beruf",
    Word.PERSONAL: "firstname lastname surname vorname nachname address street zip postcode plz strasse phone "
    "telefon email ssn physician doctor nurse provider arzt",
    Word.DESCRIPTION: "long description desc label name title text bezeichnung term display libelle",
}
"""The words of each kind, the best first where one is chosen among several columns."""

VOCABULARIES = {
    "loinc": "LOINC",
    "snomed": "SNOMED",
    "atc": "ATC",
    "rxnorm": "RxNorm",
    "ndc": "NDC",
    "icd10": "ICD10",
    "icd9": "ICD9",
}
"""How codes of well-known vocabularies begin, by what the name of a column with them says."""

NULL_WORDS = ("NULL", "null", "N/A", "n/a", "NaN", "<NA>", "\\N", "k.A.", "n.a.", "#N/A")
"""Texts that stand for null wherever they are."""

MAYBE_NULL_WORDS = ("NA", "None", "-", "--", ".", "?", "nan", "unbekannt", "unknown")
"""Texts that stand for null where all others of the column are numbers or times."""

_LONG = 4
_ENDING = 2
"""Letters that may follow a word, as in `patienten_id`."""
_UPPER, _LOWER = "A-ZÀ-ÖØ-Þ", "a-zß-öø-ÿĀ-ſ"
_PARTS = re.compile(rf"[{_UPPER}]+(?![{_LOWER}])|[{_UPPER}]?[{_LOWER}]+|[^\W\d_{_UPPER}{_LOWER}]+|\d+")
_WITHOUT_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


@cache
def parts(name: str) -> tuple[str, ...]:
    """The parts of a name, in lower case; letters of other scripts than Latin are parts of their own.

    >>> parts("patientId"), parts("LAB_TEST-2"), parts("hosp/d_labs"), parts("Größe (cm)"), parts("患者ID")
    (('patient', 'id'), ('lab', 'test', '2'), ('hosp', 'd', 'labs'), ('größe', 'cm'), ('患者', 'id'))
    """
    return tuple(part.lower() for part in _PARTS.findall(unicodedata.normalize("NFC", name)))


def _as_words_are(part: str) -> str:
    """A part of a name as the words are written, without accents.

    >>> _as_words_are("décès"), _as_words_are("kürzel")
    ('deces', 'kuerzel')
    """
    letters = unicodedata.normalize("NFKD", part.translate(_WITHOUT_UMLAUTS))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


@cache
def rank(name: str, kind: Word) -> int:
    """How early in its list the first word of a kind is that a name says, the higher the earlier; 0: it says none.

    >>> rank("patient_id", Word.SUBJECT) > rank("mrn", Word.SUBJECT) > rank("ward", Word.SUBJECT)
    True
    """
    words, own = WORDS[kind].split(), tuple(map(_as_words_are, parts(name)))
    joined = "".join(own)
    found = [n for n, word in enumerate(words) if _is_said(word, own, joined)]
    return len(words) - found[0] if found else 0


def _is_said(word: str, own: tuple[str, ...], joined: str) -> bool:
    if word.startswith("*"):
        return any(part.endswith(word[1:]) for part in own)
    return word in (*own, joined) or (len(word) >= _LONG and word in joined)


@cache
def rest(name: str, *kinds: Word) -> str:
    """What is left of a name without the words of some kinds.

    >>> rest("patient_id", Word.SUBJECT, Word.IDENTIFIER), rest("patientweight", Word.SUBJECT, Word.IDENTIFIER)
    ('', 'weight')
    """
    words = sorted((word.strip("*") for kind in kinds for word in WORDS[kind].split()), key=len, reverse=True)
    left = [part for part in map(_as_words_are, parts(name)) if part not in words]
    for word in (word for word in words if len(word) >= _LONG):
        left = [part.replace(word, "") for part in left]
    joined = "".join(left)
    return joined if len(joined) > _ENDING else ""


def says(name: str, *kinds: Word) -> bool:
    """Whether a name says a word of one of these kinds."""
    return any(rank(name, kind) for kind in kinds)


@cache
def stem(name: str) -> str:
    """The name of a time without what says that it is one; the whole name where nothing else is in it.

    >>> stem("admittime"), stem("edouttime"), stem("chart_date"), stem("seen"), stem("time"), stem("%")
    ('admit', 'edout', 'chart', 'seen', 'time', '%')
    """
    words = sorted(WORDS[Word.TIME].split(), key=len, reverse=True)
    own = [part for part in parts(name) if part not in words] or [*parts(name)] or [name]
    last = own[-1]
    ends = [word for word in words if len(word) >= _LONG and last.endswith(word) and last != word]
    return "_".join([*own[:-1], last.removesuffix(ends[0]) if ends else last])


@cache
def begins_or_ends(name: str) -> Word | None:
    """Whether a time is the start of something or its end, by its name; None where it says neither.

    >>> begins_or_ends("edregtime"), begins_or_ends("dischtime"), begins_or_ends("charttime")
    (<Word.START: 'start'>, <Word.END: 'end'>, None)
    """
    own = stem(name).split("_")
    for kind in (Word.END, Word.START):
        words = WORDS[kind].split()
        if any(part in words for part in own) or any(own[-1].endswith(w) and len(w) > 2 for w in words):
            return kind
    return None


def plain(name: str) -> str:
    """A name of letters, digits and underscores, for events and columns of the output.

    >>> plain("Größe (cm)"), plain("heart rate")
    ('größe_cm', 'heart_rate')
    """
    return re.sub(r"\W+", "_", name).strip("_").lower() or "column"
