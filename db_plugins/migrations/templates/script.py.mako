<%!
def quoted(text):
    """The message as a docstring, whatever it holds."""
    text = text or ""
    is_plain = text and text.isprintable() and not set(text) & {'"', "\\"}
    return f'"""{text}"""' if is_plain else repr(text)
%>${quoted(message)}

from __future__ import annotations

% if imports:
${imports}

% endif
# Revision ${up_revision} was made on ${create_date.date()}.
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
