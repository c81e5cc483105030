import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.train.v1 import model_pb2 as _model_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GraderKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRADER_KIND_UNSPECIFIED: _ClassVar[GraderKind]
    GRADER_KIND_PERPLEXITY: _ClassVar[GraderKind]
    GRADER_KIND_CHOICE: _ClassVar[GraderKind]
    GRADER_KIND_EXACT: _ClassVar[GraderKind]
    GRADER_KIND_REGEX: _ClassVar[GraderKind]
    GRADER_KIND_NUMERIC: _ClassVar[GraderKind]
    GRADER_KIND_JSON_SCHEMA: _ClassVar[GraderKind]
    GRADER_KIND_TEXT_SIMILARITY: _ClassVar[GraderKind]
    GRADER_KIND_PYTHON: _ClassVar[GraderKind]
    GRADER_KIND_JUDGE: _ClassVar[GraderKind]
    GRADER_KIND_FORMULA: _ClassVar[GraderKind]
    GRADER_KIND_RECORDED: _ClassVar[GraderKind]

class ChoiceLength(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHOICE_LENGTH_UNSPECIFIED: _ClassVar[ChoiceLength]
    CHOICE_LENGTH_NONE: _ClassVar[ChoiceLength]
    CHOICE_LENGTH_CHARACTERS: _ClassVar[ChoiceLength]

class TextMeasure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_MEASURE_UNSPECIFIED: _ClassVar[TextMeasure]
    TEXT_MEASURE_TOKEN_F1: _ClassVar[TextMeasure]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_PASS: _ClassVar[Verdict]
    VERDICT_FAIL: _ClassVar[Verdict]
    VERDICT_INCONCLUSIVE: _ClassVar[Verdict]
    VERDICT_MISSING: _ClassVar[Verdict]
    VERDICT_INVALID: _ClassVar[Verdict]

class GateRelation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATE_RELATION_UNSPECIFIED: _ClassVar[GateRelation]
    GATE_RELATION_NON_INFERIOR: _ClassVar[GateRelation]
    GATE_RELATION_SUPERIOR: _ClassVar[GateRelation]
    GATE_RELATION_FLOOR: _ClassVar[GateRelation]
GRADER_KIND_UNSPECIFIED: GraderKind
GRADER_KIND_PERPLEXITY: GraderKind
GRADER_KIND_CHOICE: GraderKind
GRADER_KIND_EXACT: GraderKind
GRADER_KIND_REGEX: GraderKind
GRADER_KIND_NUMERIC: GraderKind
GRADER_KIND_JSON_SCHEMA: GraderKind
GRADER_KIND_TEXT_SIMILARITY: GraderKind
GRADER_KIND_PYTHON: GraderKind
GRADER_KIND_JUDGE: GraderKind
GRADER_KIND_FORMULA: GraderKind
GRADER_KIND_RECORDED: GraderKind
CHOICE_LENGTH_UNSPECIFIED: ChoiceLength
CHOICE_LENGTH_NONE: ChoiceLength
CHOICE_LENGTH_CHARACTERS: ChoiceLength
TEXT_MEASURE_UNSPECIFIED: TextMeasure
TEXT_MEASURE_TOKEN_F1: TextMeasure
VERDICT_UNSPECIFIED: Verdict
VERDICT_PASS: Verdict
VERDICT_FAIL: Verdict
VERDICT_INCONCLUSIVE: Verdict
VERDICT_MISSING: Verdict
VERDICT_INVALID: Verdict
GATE_RELATION_UNSPECIFIED: GateRelation
GATE_RELATION_NON_INFERIOR: GateRelation
GATE_RELATION_SUPERIOR: GateRelation
GATE_RELATION_FLOOR: GateRelation

class GraderOptions(_message.Message):
    __slots__ = ("stop", "choice_length", "exact", "numeric", "text_measure", "python", "judge", "formula")
    STOP_FIELD_NUMBER: _ClassVar[int]
    CHOICE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_FIELD_NUMBER: _ClassVar[int]
    TEXT_MEASURE_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    FORMULA_FIELD_NUMBER: _ClassVar[int]
    stop: _containers.RepeatedScalarFieldContainer[str]
    choice_length: ChoiceLength
    exact: ExactOptions
    numeric: NumericOptions
    text_measure: TextMeasure
    python: PythonOptions
    judge: JudgeOptions
    formula: FormulaOptions
    def __init__(self, stop: _Optional[_Iterable[str]] = ..., choice_length: _Optional[_Union[ChoiceLength, str]] = ..., exact: _Optional[_Union[ExactOptions, _Mapping]] = ..., numeric: _Optional[_Union[NumericOptions, _Mapping]] = ..., text_measure: _Optional[_Union[TextMeasure, str]] = ..., python: _Optional[_Union[PythonOptions, _Mapping]] = ..., judge: _Optional[_Union[JudgeOptions, _Mapping]] = ..., formula: _Optional[_Union[FormulaOptions, _Mapping]] = ...) -> None: ...

class ExactOptions(_message.Message):
    __slots__ = ("verbatim", "ignore_case", "ignore_punctuation", "ignore", "extract", "match")
    VERBATIM_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_PUNCTUATION_FIELD_NUMBER: _ClassVar[int]
    IGNORE_FIELD_NUMBER: _ClassVar[int]
    EXTRACT_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    verbatim: bool
    ignore_case: bool
    ignore_punctuation: bool
    ignore: _containers.RepeatedScalarFieldContainer[str]
    extract: str
    match: int
    def __init__(self, verbatim: _Optional[bool] = ..., ignore_case: _Optional[bool] = ..., ignore_punctuation: _Optional[bool] = ..., ignore: _Optional[_Iterable[str]] = ..., extract: _Optional[str] = ..., match: _Optional[int] = ...) -> None: ...

class NumericOptions(_message.Message):
    __slots__ = ("absolute_tolerance", "relative_tolerance")
    ABSOLUTE_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    absolute_tolerance: float
    relative_tolerance: float
    def __init__(self, absolute_tolerance: _Optional[float] = ..., relative_tolerance: _Optional[float] = ...) -> None: ...

class PythonOptions(_message.Message):
    __slots__ = ("time_limit_s", "memory_mib", "prompt_first")
    TIME_LIMIT_S_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIRST_FIELD_NUMBER: _ClassVar[int]
    time_limit_s: int
    memory_mib: int
    prompt_first: bool
    def __init__(self, time_limit_s: _Optional[int] = ..., memory_mib: _Optional[int] = ..., prompt_first: _Optional[bool] = ...) -> None: ...

class JudgeOptions(_message.Message):
    __slots__ = ("judge", "instructions", "lowest", "highest")
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_FIELD_NUMBER: _ClassVar[int]
    judge: str
    instructions: str
    lowest: float
    highest: float
    def __init__(self, judge: _Optional[str] = ..., instructions: _Optional[str] = ..., lowest: _Optional[float] = ..., highest: _Optional[float] = ...) -> None: ...

class FormulaOptions(_message.Message):
    __slots__ = ("expression", "parts")
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    expression: str
    parts: _containers.RepeatedCompositeFieldContainer[FormulaPart]
    def __init__(self, expression: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[FormulaPart, _Mapping]]] = ...) -> None: ...

class FormulaPart(_message.Message):
    __slots__ = ("id", "grader", "options", "target")
    ID_FIELD_NUMBER: _ClassVar[int]
    GRADER_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    id: str
    grader: GraderKind
    options: GraderOptions
    target: str
    def __init__(self, id: _Optional[str] = ..., grader: _Optional[_Union[GraderKind, str]] = ..., options: _Optional[_Union[GraderOptions, _Mapping]] = ..., target: _Optional[str] = ...) -> None: ...

class EvaluationSuite(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "display_name", "grader", "cases", "num_cases", "max_tokens", "dataset_version", "higher_is_better", "mde", "sealed", "contamination_hashes", "options")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    GRADER_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    HIGHER_IS_BETTER_FIELD_NUMBER: _ClassVar[int]
    MDE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    CONTAMINATION_HASHES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    display_name: str
    grader: GraderKind
    cases: _artifact_pb2.ArtifactRef
    num_cases: int
    max_tokens: int
    dataset_version: str
    higher_is_better: bool
    mde: float
    sealed: bool
    contamination_hashes: _artifact_pb2.ArtifactRef
    options: GraderOptions
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., display_name: _Optional[str] = ..., grader: _Optional[_Union[GraderKind, str]] = ..., cases: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., num_cases: _Optional[int] = ..., max_tokens: _Optional[int] = ..., dataset_version: _Optional[str] = ..., higher_is_better: _Optional[bool] = ..., mde: _Optional[float] = ..., sealed: _Optional[bool] = ..., contamination_hashes: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., options: _Optional[_Union[GraderOptions, _Mapping]] = ...) -> None: ...

class EvaluationRun(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "model_version", "suites", "status", "results", "inputs", "imported", "endpoint", "check_contamination", "parity", "parity_attestation")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    CHECK_CONTAMINATION_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    PARITY_ATTESTATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    model_version: str
    suites: _containers.RepeatedScalarFieldContainer[str]
    status: _job_pb2.JobStatus
    results: _containers.RepeatedCompositeFieldContainer[SuiteResult]
    inputs: EvaluationInputs
    imported: ImportedResults
    endpoint: str
    check_contamination: bool
    parity: _model_pb2.ParityReport
    parity_attestation: bytes
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., model_version: _Optional[str] = ..., suites: _Optional[_Iterable[str]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., results: _Optional[_Iterable[_Union[SuiteResult, _Mapping]]] = ..., inputs: _Optional[_Union[EvaluationInputs, _Mapping]] = ..., imported: _Optional[_Union[ImportedResults, _Mapping]] = ..., endpoint: _Optional[str] = ..., check_contamination: _Optional[bool] = ..., parity: _Optional[_Union[_model_pb2.ParityReport, _Mapping]] = ..., parity_attestation: _Optional[bytes] = ...) -> None: ...

class ImportedResults(_message.Message):
    __slots__ = ("tool", "file_sha256", "file_name", "model", "metric", "upload")
    TOOL_FIELD_NUMBER: _ClassVar[int]
    FILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    tool: str
    file_sha256: str
    file_name: str
    model: str
    metric: str
    upload: str
    def __init__(self, tool: _Optional[str] = ..., file_sha256: _Optional[str] = ..., file_name: _Optional[str] = ..., model: _Optional[str] = ..., metric: _Optional[str] = ..., upload: _Optional[str] = ...) -> None: ...

class EvaluationInputs(_message.Message):
    __slots__ = ("model_manifest", "suites", "judges", "training_data", "unknown_training", "deployment", "precision")
    MODEL_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SUITES_FIELD_NUMBER: _ClassVar[int]
    JUDGES_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_TRAINING_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    model_manifest: _artifact_pb2.ArtifactRef
    suites: _containers.RepeatedCompositeFieldContainer[EvaluationSuite]
    judges: _containers.RepeatedCompositeFieldContainer[Judge]
    training_data: _containers.RepeatedCompositeFieldContainer[TrainingData]
    unknown_training: _containers.RepeatedScalarFieldContainer[str]
    deployment: str
    precision: str
    def __init__(self, model_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., suites: _Optional[_Iterable[_Union[EvaluationSuite, _Mapping]]] = ..., judges: _Optional[_Iterable[_Union[Judge, _Mapping]]] = ..., training_data: _Optional[_Iterable[_Union[TrainingData, _Mapping]]] = ..., unknown_training: _Optional[_Iterable[str]] = ..., deployment: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class TrainingData(_message.Message):
    __slots__ = ("dataset_version", "manifest", "model_version")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    manifest: _artifact_pb2.ArtifactRef
    model_version: str
    def __init__(self, dataset_version: _Optional[str] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., model_version: _Optional[str] = ...) -> None: ...

class Contamination(_message.Message):
    __slots__ = ("dataset_version", "num_cases", "largest_share", "num_documents", "cases")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_FIELD_NUMBER: _ClassVar[int]
    LARGEST_SHARE_FIELD_NUMBER: _ClassVar[int]
    NUM_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    num_cases: int
    largest_share: float
    num_documents: int
    cases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dataset_version: _Optional[str] = ..., num_cases: _Optional[int] = ..., largest_share: _Optional[float] = ..., num_documents: _Optional[int] = ..., cases: _Optional[_Iterable[str]] = ...) -> None: ...

class Judge(_message.Message):
    __slots__ = ("name", "url", "model", "key_file", "inside")
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KEY_FILE_FIELD_NUMBER: _ClassVar[int]
    INSIDE_FIELD_NUMBER: _ClassVar[int]
    name: str
    url: str
    model: str
    key_file: str
    inside: bool
    def __init__(self, name: _Optional[str] = ..., url: _Optional[str] = ..., model: _Optional[str] = ..., key_file: _Optional[str] = ..., inside: _Optional[bool] = ...) -> None: ...

class SuiteResult(_message.Message):
    __slots__ = ("suite", "score", "interval", "num_cases", "num_unscored", "case_results", "seconds", "tokens", "suite_sha256", "bits_per_byte", "contamination", "num_contaminated", "num_untraceable", "clean_score", "clean_interval")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_FIELD_NUMBER: _ClassVar[int]
    NUM_UNSCORED_FIELD_NUMBER: _ClassVar[int]
    CASE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SUITE_SHA256_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_BYTE_FIELD_NUMBER: _ClassVar[int]
    CONTAMINATION_FIELD_NUMBER: _ClassVar[int]
    NUM_CONTAMINATED_FIELD_NUMBER: _ClassVar[int]
    NUM_UNTRACEABLE_FIELD_NUMBER: _ClassVar[int]
    CLEAN_SCORE_FIELD_NUMBER: _ClassVar[int]
    CLEAN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    suite: str
    score: float
    interval: Interval
    num_cases: int
    num_unscored: int
    case_results: _artifact_pb2.ArtifactRef
    seconds: float
    tokens: int
    suite_sha256: str
    bits_per_byte: float
    contamination: _containers.RepeatedCompositeFieldContainer[Contamination]
    num_contaminated: int
    num_untraceable: int
    clean_score: float
    clean_interval: Interval
    def __init__(self, suite: _Optional[str] = ..., score: _Optional[float] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ..., num_cases: _Optional[int] = ..., num_unscored: _Optional[int] = ..., case_results: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., seconds: _Optional[float] = ..., tokens: _Optional[int] = ..., suite_sha256: _Optional[str] = ..., bits_per_byte: _Optional[float] = ..., contamination: _Optional[_Iterable[_Union[Contamination, _Mapping]]] = ..., num_contaminated: _Optional[int] = ..., num_untraceable: _Optional[int] = ..., clean_score: _Optional[float] = ..., clean_interval: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high", "confidence")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    confidence: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., confidence: _Optional[float] = ...) -> None: ...

class EvaluationResult(_message.Message):
    __slots__ = ("results", "parity")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SuiteResult]
    parity: _model_pb2.ParityReport
    def __init__(self, results: _Optional[_Iterable[_Union[SuiteResult, _Mapping]]] = ..., parity: _Optional[_Union[_model_pb2.ParityReport, _Mapping]] = ...) -> None: ...

class EvaluationCells(_message.Message):
    __slots__ = ("cells",)
    CELLS_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[EvaluationCell]
    def __init__(self, cells: _Optional[_Iterable[_Union[EvaluationCell, _Mapping]]] = ...) -> None: ...

class EvaluationCell(_message.Message):
    __slots__ = ("suite", "split", "case_results", "seconds", "dataset_version")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    CASE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    suite: str
    split: int
    case_results: _artifact_pb2.ArtifactRef
    seconds: float
    dataset_version: str
    def __init__(self, suite: _Optional[str] = ..., split: _Optional[int] = ..., case_results: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., seconds: _Optional[float] = ..., dataset_version: _Optional[str] = ...) -> None: ...

class SuiteComparison(_message.Message):
    __slots__ = ("suite", "baseline", "candidate", "difference", "interval", "num_pairs", "p_value", "num_better", "num_worse", "flips", "higher_is_better", "num_clusters", "clean")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    NUM_PAIRS_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    NUM_BETTER_FIELD_NUMBER: _ClassVar[int]
    NUM_WORSE_FIELD_NUMBER: _ClassVar[int]
    FLIPS_FIELD_NUMBER: _ClassVar[int]
    HIGHER_IS_BETTER_FIELD_NUMBER: _ClassVar[int]
    NUM_CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    suite: str
    baseline: float
    candidate: float
    difference: float
    interval: Interval
    num_pairs: int
    p_value: float
    num_better: int
    num_worse: int
    flips: _containers.RepeatedCompositeFieldContainer[CaseFlip]
    higher_is_better: bool
    num_clusters: int
    clean: SuiteComparison
    def __init__(self, suite: _Optional[str] = ..., baseline: _Optional[float] = ..., candidate: _Optional[float] = ..., difference: _Optional[float] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ..., num_pairs: _Optional[int] = ..., p_value: _Optional[float] = ..., num_better: _Optional[int] = ..., num_worse: _Optional[int] = ..., flips: _Optional[_Iterable[_Union[CaseFlip, _Mapping]]] = ..., higher_is_better: _Optional[bool] = ..., num_clusters: _Optional[int] = ..., clean: _Optional[_Union[SuiteComparison, _Mapping]] = ...) -> None: ...

class CaseFlip(_message.Message):
    __slots__ = ("case_id", "prompt", "target", "baseline_output", "candidate_output", "baseline_score", "candidate_score")
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BASELINE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BASELINE_SCORE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_SCORE_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    prompt: str
    target: str
    baseline_output: str
    candidate_output: str
    baseline_score: float
    candidate_score: float
    def __init__(self, case_id: _Optional[str] = ..., prompt: _Optional[str] = ..., target: _Optional[str] = ..., baseline_output: _Optional[str] = ..., candidate_output: _Optional[str] = ..., baseline_score: _Optional[float] = ..., candidate_score: _Optional[float] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("baseline_run", "candidate_run", "suites")
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    SUITES_FIELD_NUMBER: _ClassVar[int]
    baseline_run: str
    candidate_run: str
    suites: _containers.RepeatedCompositeFieldContainer[SuiteComparison]
    def __init__(self, baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ..., suites: _Optional[_Iterable[_Union[SuiteComparison, _Mapping]]] = ...) -> None: ...

class JudgeAnchors(_message.Message):
    __slots__ = ("num_right", "num_right_agreed", "num_wrong", "num_wrong_agreed")
    NUM_RIGHT_FIELD_NUMBER: _ClassVar[int]
    NUM_RIGHT_AGREED_FIELD_NUMBER: _ClassVar[int]
    NUM_WRONG_FIELD_NUMBER: _ClassVar[int]
    NUM_WRONG_AGREED_FIELD_NUMBER: _ClassVar[int]
    num_right: int
    num_right_agreed: int
    num_wrong: int
    num_wrong_agreed: int
    def __init__(self, num_right: _Optional[int] = ..., num_right_agreed: _Optional[int] = ..., num_wrong: _Optional[int] = ..., num_wrong_agreed: _Optional[int] = ...) -> None: ...

class GateRule(_message.Message):
    __slots__ = ("suite", "min_difference", "blocking", "relation", "margin", "floor", "relative", "slice", "judge_anchors", "forgetting_budget")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    MIN_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    BLOCKING_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    JUDGE_ANCHORS_FIELD_NUMBER: _ClassVar[int]
    FORGETTING_BUDGET_FIELD_NUMBER: _ClassVar[int]
    suite: str
    min_difference: float
    blocking: bool
    relation: GateRelation
    margin: float
    floor: float
    relative: bool
    slice: str
    judge_anchors: JudgeAnchors
    forgetting_budget: bool
    def __init__(self, suite: _Optional[str] = ..., min_difference: _Optional[float] = ..., blocking: _Optional[bool] = ..., relation: _Optional[_Union[GateRelation, str]] = ..., margin: _Optional[float] = ..., floor: _Optional[float] = ..., relative: _Optional[bool] = ..., slice: _Optional[str] = ..., judge_anchors: _Optional[_Union[JudgeAnchors, _Mapping]] = ..., forgetting_budget: _Optional[bool] = ...) -> None: ...

class RuleVerdict(_message.Message):
    __slots__ = ("rule", "verdict", "comparison", "num_cases_needed", "explanation", "value", "interval", "p_value", "clean_verdict")
    RULE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_NEEDED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    CLEAN_VERDICT_FIELD_NUMBER: _ClassVar[int]
    rule: GateRule
    verdict: Verdict
    comparison: SuiteComparison
    num_cases_needed: int
    explanation: str
    value: float
    interval: Interval
    p_value: float
    clean_verdict: Verdict
    def __init__(self, rule: _Optional[_Union[GateRule, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., comparison: _Optional[_Union[SuiteComparison, _Mapping]] = ..., num_cases_needed: _Optional[int] = ..., explanation: _Optional[str] = ..., value: _Optional[float] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ..., p_value: _Optional[float] = ..., clean_verdict: _Optional[_Union[Verdict, str]] = ...) -> None: ...

class GateDecision(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "model_version", "baseline_run", "candidate_run", "rules", "verdict", "model_sha256", "gate_policy", "level")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    GATE_POLICY_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    model_version: str
    baseline_run: str
    candidate_run: str
    rules: _containers.RepeatedCompositeFieldContainer[RuleVerdict]
    verdict: Verdict
    model_sha256: str
    gate_policy: str
    level: float
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., model_version: _Optional[str] = ..., baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ..., rules: _Optional[_Iterable[_Union[RuleVerdict, _Mapping]]] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., model_sha256: _Optional[str] = ..., gate_policy: _Optional[str] = ..., level: _Optional[float] = ...) -> None: ...
