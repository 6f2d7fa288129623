DROP TABLE emergency_contacts;
