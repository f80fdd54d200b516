"""Pages drawn from facts, before they are DICOM: summary sheet, notice, pictures of the lungs."""
