//! The frame of the payload link (docs/payload-link.md section 1).
