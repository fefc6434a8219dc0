-- Makes tables of version 3 of those of version 2, whose bodies read as they are. Lines of the audit
-- say more since, in words that version 2 does not know. Up to which line they are not there any more
-- is kept since; version 2 removed lines without that.

INSERT OR REPLACE INTO meta (key, value)
    SELECT 'audit_base', coalesce(
        (SELECT min(number) - 1 FROM audit),
        (SELECT value FROM meta WHERE key = 'last_audit'),
        0);
