"""The conformance kit: what every engine must answer, as one class that a plugin's test file derives from.

harness    what a subclass says; the fixtures; which tests run
models     the mapped classes that are stored, samples their rows and boundary values
one file for each subject, its tests in one class; the bodies are the same for all engines
"""

from __future__ import annotations

from .aggregates import Aggregates
from .attacks import Attacks
from .bulk import Bulk
from .bulk_conflicts import BulkConflicts
from .bulk_updates import BulkUpdates
from .cancelling import Cancelling
from .cascades import Cascades, CascadesAsSession, CascadesTogether
from .conflicts import Conflicts
from .creations import Creations
from .cursors import Cursors
from .existence import Existence
from .faults import Faults
from .filters import Filters
from .frames import Frames
from .generated import Generated
from .groups import Groups
from .hypotheses import Hypotheses
from .integrity import Integrity
from .joins import Joins
from .keys import Keys
from .likes import Likes
from .loops import Loops
from .mapping import Mapping
from .migration_pairs import MigrationPairs
from .migration_races import MigrationRaces
from .migration_refusals import MigrationRefusals
from .migration_starts import MigrationStarts
from .migrations import Migrations
from .misfits import Misfits
from .mixins import Mixins
from .moving import Moving, MovingFromReadOnly
from .moving_files import MovingFiles
from .moving_resumed import MovingResumed
from .nearest import Nearest
from .objects import Objects
from .orders import Orders
from .pages import Pages
from .parents import Parents
from .paths import Paths
from .races import Races
from .reads import Reads
from .refusals import Guards, Refusals
from .related import Related
from .sessions import Sessions
from .sharing import Sharing
from .storage import Storage
from .streams import Streams
from .tasks import Tasks
from .ticking import Ticking
from .transactions import Transactions
from .upserts import Upserts
from .values import Values
from .versions import Versions
from .watching import Watching
from .writes import Writes

__all__ = ["PluginConformance"]


class PluginConformance(
    Storage,
    Mapping,
    Values,
    Misfits,
    Attacks,
    Writes,
    Versions,
    Mixins,
    Bulk,
    BulkConflicts,
    BulkUpdates,
    Upserts,
    Creations,
    Races,
    Keys,
    Integrity,
    Cascades,
    CascadesTogether,
    CascadesAsSession,
    Parents,
    Reads,
    Filters,
    Likes,
    Paths,
    Orders,
    Pages,
    Cursors,
    Related,
    Existence,
    Joins,
    Frames,
    Streams,
    Aggregates,
    Groups,
    Nearest,
    Generated,
    Hypotheses,
    Objects,
    Transactions,
    Conflicts,
    Sessions,
    Sharing,
    Watching,
    Tasks,
    Cancelling,
    Ticking,
    Loops,
    Migrations,
    MigrationRefusals,
    MigrationStarts,
    MigrationRaces,
    MigrationPairs,
    Moving,
    MovingFromReadOnly,
    MovingResumed,
    MovingFiles,
    Refusals,
    Faults,
    Guards,
):
    """Derive from it, say ``plugin`` and ``config``, and run pytest. ``Harness`` has what else may be said."""
