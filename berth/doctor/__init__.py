"""What is wrong with the machines of a stack: the checks of a preview, all of them, beside what of the stack is up."""

from berth.doctor.diagnosis import Diagnosis, HostDiagnosis, diagnose
from berth.doctor.document import to_json
from berth.doctor.lines import lines

__all__ = ["Diagnosis", "HostDiagnosis", "diagnose", "lines", "to_json"]
