"""The working floor: models, data, surgery, packs, the study. Only this floor knows torch."""
