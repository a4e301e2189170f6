"""All messages and enums of the contract in one place; what each means stands in its documentation."""

from .v1.block_pb2 import *
from .v1.error_reason_pb2 import *
from .v1.event_pb2 import *
from .v1.permission_pb2 import *
from .v1.principal_pb2 import *
from .v1.profile_pb2 import *
from .v1.profile_service_pb2 import *
from .v1.runtime_service_pb2 import *
from .v1.sandbox_pb2 import *
from .v1.sandbox_record_pb2 import *
from .v1.session_pb2 import *
from .v1.session_service_pb2 import *
from .v1.state_pb2 import *
from .v1.workspace_pb2 import *
from .v1.workspace_service_pb2 import *
